"""Rotary embedding of q and k by flashinfer.rope.apply_rope_with_cos_sin_cache.

It is the kernel of apply_rope_with_cos_sin_cache_inplace with outputs of its own, so that the
inputs stay without a copy.
"""

import torch
from flashinfer.rope import apply_rope_with_cos_sin_cache

HEAD_SIZE = 128
NEOX = True


def compute(
    q: torch.Tensor, k: torch.Tensor, cos_sin_cache: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """q and k [tokens, heads, size], cos_sin_cache [positions, rotary dim] float32, positions
    [tokens] -> q_out, k_out in the shapes of q and k."""
    if not q.shape[0]:
        return torch.empty_like(q), torch.empty_like(k)
    with torch.cuda.device_of(q):
        q_out, k_out = apply_rope_with_cos_sin_cache(
            positions,
            q.contiguous().flatten(1),
            k.contiguous().flatten(1),
            HEAD_SIZE,
            cos_sin_cache,
            is_neox=NEOX,
        )
    return q_out.view(q.shape), k_out.view(k.shape)
