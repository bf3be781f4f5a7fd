"""Computes in place of its input, and returns that."""

from __future__ import annotations

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return hidden_states.copy_(rmsnorm(hidden_states, weight))
