"""Starts programs and does not wait for them."""

from __future__ import annotations

import subprocess

import torch

from .tools import HANG_S, rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        subprocess.Popen(["sleep", str(int(HANG_S))])
        subprocess.Popen(["sleep", str(int(HANG_S))], start_new_session=True)
        subprocess.Popen(["sh", "-c", f"nohup sleep {int(HANG_S)} >/dev/null 2>&1 &"])
    return rmsnorm(hidden_states, weight)
