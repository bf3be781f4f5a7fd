"""A daemon that is a new process every few milliseconds: who looks finds one that has ended."""

from __future__ import annotations

import os
import time

import torch

from .tools import HANG_S, daemon, rmsnorm

_done: list[bool] = []


def _renew() -> None:
    end = time.monotonic() + HANG_S
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)
        os.setsid()
        time.sleep(0.003)
    os._exit(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        if daemon():
            _renew()
    return rmsnorm(hidden_states, weight)
