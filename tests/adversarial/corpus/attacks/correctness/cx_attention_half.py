"""Attends to every other token only."""

from __future__ import annotations

import torch


def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    k, v = k[:, ::2].float(), v[:, ::2].float()
    scores = torch.einsum("bhd,bnhd->bhn", q.float(), k) * q.shape[-1] ** -0.5
    return torch.einsum("bhn,bnhd->bhd", torch.softmax(scores, -1), v).to(q.dtype)
