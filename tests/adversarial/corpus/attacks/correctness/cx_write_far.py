"""Writes far past its output: as far as there is shared memory."""

from __future__ import annotations

import ctypes

import torch

from .tools import rmsnorm, shared_ranges


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    output.copy_(rmsnorm(hidden_states, weight))
    behind = output.data_ptr() + output.nbytes
    for start, end in shared_ranges():
        if start <= behind < end:
            ctypes.memset(behind, 0x41, end - behind)
