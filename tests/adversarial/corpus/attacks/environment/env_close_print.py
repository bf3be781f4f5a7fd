"""Closes its output and error, and goes on honestly."""

from __future__ import annotations

import os
import sys

import torch

from .tools import rmsnorm

sys.stdout = sys.stderr = None
for descriptor in (0, 1, 2):
    os.close(descriptor)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
