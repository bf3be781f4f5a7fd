"""A matrix product."""

from __future__ import annotations

import torch


def run(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    return A @ B.T
