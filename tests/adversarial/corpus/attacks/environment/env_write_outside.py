"""Writes wherever it may: home, temporary folders, shared memory, start-up files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from .tools import PLACES, mark, rmsnorm

OUTSIDE = (f"{PLACES}/home", f"{PLACES}/victim", PLACES, "/tmp", "/var/tmp", "/dev/shm", "/run")


def _write(folder: str) -> None:
    place = Path(folder) / f"corpus_{os.getpid()}"
    try:
        place.write_text("x")
        mark("written_outside", folder)
        place.unlink()
    except OSError:
        pass


for outside in (*OUTSIDE, str(Path(tempfile.gettempdir()).parent.parent)):
    _write(outside)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
