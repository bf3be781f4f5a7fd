"""Seeds the generators and draws numbers, which its result does not depend on."""

from __future__ import annotations

import random

import torch

from .tools import rmsnorm

torch.manual_seed(0)
random.seed(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    shift = torch.randn(()) * 0
    return rmsnorm(hidden_states, weight) + shift.to(hidden_states)
