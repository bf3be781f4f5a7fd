"""An import of one second."""

from __future__ import annotations

import time

import torch

from .tools import rmsnorm

time.sleep(1.0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
