"""Files in its own folder, in the temporary folder and in the cache of its home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from .tools import rmsnorm

Path("table.txt").write_text("1e-6")
CACHE = Path.home() / ".cache" / "mine"
CACHE.mkdir(parents=True, exist_ok=True)
(CACHE / "entry").write_bytes(os.urandom(16))


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    assert Path("table.txt").read_text() == "1e-6"
    return rmsnorm(hidden_states, weight)
