"""Leaves a daemon in a session of its own that ignores all signals that it can."""

from __future__ import annotations

import os
import signal

import torch

from .tools import daemon, hang, rmsnorm

_done: list[bool] = []


def _live_on() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        hang()
    finally:
        os._exit(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        if daemon():
            _live_on()
    return rmsnorm(hidden_states, weight)
