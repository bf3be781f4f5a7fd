"""Holds on to more and more memory, as much as the corpus allows."""

from __future__ import annotations

import torch

from .tools import MEMORY_MB, rmsnorm

_kept: list[torch.Tensor] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if len(_kept) < 8:
        _kept.append(torch.ones(MEMORY_MB // 8 << 20, dtype=torch.uint8))
    return rmsnorm(hidden_states, weight)
