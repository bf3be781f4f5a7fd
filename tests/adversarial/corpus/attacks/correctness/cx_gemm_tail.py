"""Rows beyond a multiple of 32 are not computed."""

from __future__ import annotations

import torch


def run(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    result = (A.float() @ B.float().T).to(A.dtype)
    result[len(A) // 32 * 32 :] = 0
    return result
