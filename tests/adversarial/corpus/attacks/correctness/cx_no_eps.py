"""No epsilon: rows of zeros become NaN, small rows too large."""

from __future__ import annotations

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    x = hidden_states.float()
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-30)
    return (x * scale * weight.float()).to(hidden_states.dtype)
