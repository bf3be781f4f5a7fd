"""Hangs in the fifth call."""

from __future__ import annotations

import torch

from .tools import hang, rmsnorm

_calls = [0]


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    _calls[0] += 1
    if _calls[0] == 5:
        hang()
        raise RuntimeError("the hang is over")
    return rmsnorm(hidden_states, weight)
