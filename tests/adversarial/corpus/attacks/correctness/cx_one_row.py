"""The last row is that of the row before."""

from __future__ import annotations

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    result = rmsnorm(hidden_states, weight)
    result[-1] = result[-2]
    return result
