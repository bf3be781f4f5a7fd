"""Returns a view that torch negates when it is read."""

from __future__ import annotations

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch._neg_view(-rmsnorm(hidden_states, weight))
