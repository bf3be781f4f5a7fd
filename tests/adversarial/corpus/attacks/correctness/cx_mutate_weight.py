"""A right result, and one element of an input changed."""

from __future__ import annotations

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    output.copy_(rmsnorm(hidden_states, weight))
    weight[-1] += 1
