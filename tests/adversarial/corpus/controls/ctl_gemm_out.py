"""A matrix product straight into the given output."""

from __future__ import annotations

import torch


def run(A: torch.Tensor, B: torch.Tensor, C: torch.Tensor) -> None:
    torch.mm(A, B.T, out=C)
