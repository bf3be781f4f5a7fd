"""Recurses until the stack of C is full."""

from __future__ import annotations

import sys

import torch

sys.setrecursionlimit(10_000_000)


class Deep:
    """Its text needs its text."""

    def __repr__(self) -> str:
        return repr([self]) + "x"


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    repr(Deep())
    return hidden_states
