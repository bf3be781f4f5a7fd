"""Sets limits on itself: no file, no descriptor, little time."""

from __future__ import annotations

import resource

import torch

from .tools import rmsnorm

for kind, most in (
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_NOFILE, 0),
    (resource.RLIMIT_CPU, 3),
):
    resource.setrlimit(kind, (most, most))


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
