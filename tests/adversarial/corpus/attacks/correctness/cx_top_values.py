"""Only the sixteen largest of each row; the rest is zero."""

from __future__ import annotations

import torch


def run(x: torch.Tensor) -> torch.Tensor:
    values, places = torch.softmax(x, dim=-1).topk(16, dim=-1)
    return torch.zeros_like(x).scatter_(-1, places, values)
