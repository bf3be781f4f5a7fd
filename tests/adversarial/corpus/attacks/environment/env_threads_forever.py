"""Threads that never end, and an exit handler that hangs."""

from __future__ import annotations

import atexit
import threading

import torch

from .tools import hang, rmsnorm

atexit.register(hang)
for _ in range(4):
    threading.Thread(target=hang).start()


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
