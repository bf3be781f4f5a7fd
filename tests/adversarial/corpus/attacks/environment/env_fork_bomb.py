"""Forks until it may no more, at most sixty processes that sleep."""

from __future__ import annotations

import os

import torch

from .tools import hang, rmsnorm

_done: list[bool] = []


def _child() -> None:
    try:
        hang()
    finally:
        os._exit(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        for _ in range(60):
            if os.fork() == 0:
                _child()
    return rmsnorm(hidden_states, weight)
