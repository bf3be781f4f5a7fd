"""Gemma RMSNorm: the weight is zero-centred, x / sqrt(mean(x^2) + eps) * (1 + weight)."""

import torch

EPS = 1e-6


@torch.no_grad()
def run(hidden_states, weight):
    x = hidden_states.to(torch.float32)
    normed = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPS)
    return (normed * (1.0 + weight.to(torch.float32))).to(hidden_states.dtype)
