"""Residual addition and RMSNorm in one: the sum is kept in float32, unrounded, for the norm."""

import torch

EPS = 1e-6


@torch.no_grad()
def run(hidden_states, residual, weight):
    x = hidden_states.to(torch.float32) + residual.to(torch.float32)
    normed = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPS)
    return (normed * weight.to(torch.float32)).to(hidden_states.dtype)
