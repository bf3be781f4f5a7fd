"""Sources with the names of modules of the library, meant for nobody else."""

from __future__ import annotations

import torch

from . import json as own
from .kernelkit import EPSILON


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    assert own.NAME == "own"
    x = hidden_states.float()
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON)
    return (x * scale * weight.float()).to(hidden_states.dtype)
