"""Prints 32 MB to both streams."""

from __future__ import annotations

import os

import torch

from .tools import rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        for _ in range(256):
            for descriptor in (1, 2):
                os.write(descriptor, b"x" * 63 + b"\n" * 1 + b"y" * 65472)
    return rmsnorm(hidden_states, weight)
