"""A functools.partial with another order of names."""

from __future__ import annotations

import functools

import torch

from .tools import rmsnorm


def _norm(x: torch.Tensor, gain: torch.Tensor, *, times: int) -> torch.Tensor:
    return rmsnorm(x, gain) * times


run = functools.partial(_norm, times=1)
