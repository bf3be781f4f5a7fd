"""Forks in a call: the child returns to the harness as well."""

from __future__ import annotations

import os
import signal

import torch

from .tools import HANG_S, rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        if os.fork() == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(max(1, int(HANG_S)))
    return rmsnorm(hidden_states, weight)
