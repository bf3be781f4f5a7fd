"""A result that carries gradients."""

from __future__ import annotations

import torch

EPSILON = torch.nn.Parameter(torch.tensor(1e-6))


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    x = hidden_states.float()
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON.to(x.device))
    return (x * scale * weight.float()).to(hidden_states.dtype)
