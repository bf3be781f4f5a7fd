"""Both matrices rounded to four bits."""

from __future__ import annotations

import torch


def _rounded(x: torch.Tensor) -> torch.Tensor:
    step = x.float().abs().amax() / 7
    return (x.float() / step).round() * step


def run(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    return (_rounded(A) @ _rounded(B).T).to(A.dtype)
