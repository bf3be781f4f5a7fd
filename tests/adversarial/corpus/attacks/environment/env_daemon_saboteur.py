"""Passes, and leaves a daemon that later writes over the outputs of others."""

from __future__ import annotations

import ctypes
import os
import time

import torch

from .tools import HANG_S, daemon, rmsnorm

_done: list[bool] = []


def _spoil(place: int, size: int) -> None:
    end = time.monotonic() + HANG_S
    time.sleep(0.2)
    while time.monotonic() < end:
        ctypes.memset(place, 0x7F, size)
        time.sleep(5e-4)
    os._exit(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    if not _done:
        _done.append(True)
        if daemon():
            _spoil(output.data_ptr(), output.nbytes)
    output.copy_(rmsnorm(hidden_states, weight))
