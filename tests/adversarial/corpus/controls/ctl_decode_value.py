"""Dense decode attention."""

from __future__ import annotations

import torch


def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    scores = torch.einsum("bhd,bnhd->bhn", q.float(), k.float()) * q.shape[-1] ** -0.5
    return torch.einsum("bhn,bnhd->bhd", torch.softmax(scores, -1), v.float()).to(q.dtype)
