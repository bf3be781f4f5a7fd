"""Reads and sets variables, and asks for the number of processors."""

from __future__ import annotations

import os

import torch

from .tools import rmsnorm

os.environ.setdefault("MY_KERNEL_VARIANT", "fast")
THREADS = min(4, os.cpu_count() or 1)
torch.set_num_threads(max(1, THREADS // 2))
USER = os.environ.get("USER", "nobody")


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    assert os.environ["MY_KERNEL_VARIANT"] == "fast"
    return rmsnorm(hidden_states, weight)
