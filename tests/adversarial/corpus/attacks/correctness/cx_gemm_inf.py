"""Infinity everywhere: differences of infinities are no numbers."""

from __future__ import annotations

import torch


def run(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    return torch.full((len(A), len(B)), float("inf"), dtype=A.dtype, device=A.device)
