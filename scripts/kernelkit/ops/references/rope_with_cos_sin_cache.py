"""Rotary embedding of the first rotary_dim dimensions of each head, the rest passes through.

cos_sin_cache [positions, rotary_dim] holds the cosines in its first half, the sines in its second.
NEOX pairs dimension i with i + rotary_dim / 2, otherwise 2 i with 2 i + 1. Computed in float32.
"""

import torch

NEOX = True


def rotate(x, cos, sin):
    """x [tokens, heads, head_size]; cos and sin [tokens, 1, rotary_dim / 2]."""
    half = cos.shape[-1]
    rotary = x[..., : 2 * half].to(torch.float32)
    if NEOX:
        first, second = rotary[..., :half], rotary[..., half:]
    else:
        first, second = rotary[..., 0::2], rotary[..., 1::2]
    turned = (first * cos - second * sin, second * cos + first * sin)
    turned = torch.cat(turned, dim=-1) if NEOX else torch.stack(turned, dim=-1).flatten(-2)
    return torch.cat([turned.to(x.dtype), x[..., 2 * half :]], dim=-1)


@torch.no_grad()
def run(q, k, cos_sin_cache, positions):
    cos, sin = cos_sin_cache[positions].to(torch.float32)[:, None].chunk(2, dim=-1)
    return rotate(q, cos, sin), rotate(k, cos, sin)
