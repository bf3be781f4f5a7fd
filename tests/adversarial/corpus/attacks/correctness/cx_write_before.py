"""Writes 2 bytes before the start of its output."""

from __future__ import annotations

import ctypes

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    output.copy_(rmsnorm(hidden_states, weight))
    ctypes.memset(output.data_ptr() - 2, 0x41, 2)
