"""Writes past the end of an input."""

from __future__ import annotations

import ctypes

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    result = rmsnorm(hidden_states, weight)
    ctypes.memset(weight.data_ptr() + weight.nbytes, 0x41, 32)
    return result
