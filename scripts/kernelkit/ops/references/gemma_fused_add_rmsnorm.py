"""Residual addition and Gemma RMSNorm (weight 1 + w); the sum stays float32 for the norm."""

import torch

EPS = 1e-6


@torch.no_grad()
def run(hidden_states, residual, weight):
    x = hidden_states.to(torch.float32) + residual.to(torch.float32)
    normed = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPS)
    return (normed * (1.0 + weight.to(torch.float32))).to(hidden_states.dtype)
