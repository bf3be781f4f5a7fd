"""Leaves thousands of files, some with names that are no text."""

from __future__ import annotations

import os

import torch

from .tools import rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        for number in range(3000):
            open(f"file{number}", "w").close()
        for name in (b"\xff\xfe", b"a\nb", b"-rf", b"\x1b[2J"):
            open(name, "w").close()
        os.mkfifo("pipe")
    return rmsnorm(hidden_states, weight)
