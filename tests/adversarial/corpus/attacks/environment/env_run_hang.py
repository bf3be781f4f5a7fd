"""Hangs in a call, and ignores all signals that can be ignored."""

from __future__ import annotations

import signal

import torch

from .tools import hang

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
    signal.signal(number, signal.SIG_IGN)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    hang()
    raise RuntimeError("the hang is over")
