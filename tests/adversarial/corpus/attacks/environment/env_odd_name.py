"""Gives its process a name that is no UTF-8 and has brackets, while it takes its time."""

from __future__ import annotations

import time

import torch

from .tools import libc, rmsnorm

SET_NAME = 15


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    libc.prctl(SET_NAME, b"\xff\xfe) Z 1 (\n\x80", 0, 0, 0)
    time.sleep(0.3)
    return rmsnorm(hidden_states, weight)
