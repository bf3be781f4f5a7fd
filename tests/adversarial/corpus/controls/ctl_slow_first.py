"""A first call of 1.5 s, as with a compiler."""

from __future__ import annotations

import time

import torch

from .tools import rmsnorm

_ready: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _ready:
        time.sleep(1.5)
        _ready.append(True)
    return rmsnorm(hidden_states, weight)
