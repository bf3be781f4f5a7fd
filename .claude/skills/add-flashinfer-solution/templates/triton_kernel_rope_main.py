"""Rotary embedding of q and k in one Triton launch: one program for one head of one token.

cos_sin_cache [positions, ROTARY_DIM] holds cosines, then sines. NEOX pairs dimension i with
i + ROTARY_DIM / 2, otherwise 2 i with 2 i + 1. Other dimensions pass through. float32 arithmetic.
"""

import torch
import triton
import triton.language as tl

HEAD_SIZE = 128
ROTARY_DIM = 64
NEOX = True


@triton.jit
def rope_kernel(
    q_ptr,
    k_ptr,
    cache_ptr,
    positions_ptr,
    q_out_ptr,
    k_out_ptr,
    Q_HEADS,
    K_HEADS,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROTARY: tl.constexpr,
    IS_NEOX: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    is_q = head < Q_HEADS
    start = tl.where(is_q, token * Q_HEADS + head, token * K_HEADS + head - Q_HEADS) * SIZE
    source = tl.where(is_q, q_ptr + start, k_ptr + start)
    target = tl.where(is_q, q_out_ptr + start, k_out_ptr + start)

    # Each dimension reads its partner: no element is written before it is read.
    half: tl.constexpr = ROTARY // 2
    dim = tl.arange(0, BLOCK)
    inside, rotated = dim < SIZE, dim < ROTARY
    if IS_NEOX:
        is_first = dim < half
        partner = tl.where(is_first, dim + half, dim - half)
        pair = tl.where(is_first, dim, dim - half)
    else:
        is_first = dim % 2 == 0
        partner = tl.where(is_first, dim + 1, dim - 1)
        pair = dim // 2
    row = cache_ptr + tl.load(positions_ptr + token).to(tl.int64) * ROTARY + pair
    cos = tl.load(row, mask=rotated, other=1.0).to(tl.float32)
    sin = tl.load(row + half, mask=rotated, other=0.0).to(tl.float32)
    own = tl.load(source + dim, mask=inside, other=0.0)
    other = tl.load(source + partner, mask=rotated, other=0.0).to(tl.float32)
    turned = own.to(tl.float32) * cos + other * tl.where(is_first, -sin, sin)
    result = tl.where(rotated, turned.to(own.dtype), own)
    tl.store(target + dim, result, mask=inside)


@torch.no_grad()
def run(
    q: torch.Tensor, k: torch.Tensor, cos_sin_cache: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """q and k [tokens, heads, 128], cos_sin_cache [positions, 64], positions [tokens] ->
    q_out and k_out in the shapes of q and k."""
    q_out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    k_out = torch.empty(k.shape, dtype=k.dtype, device=k.device)
    tokens, heads = q.shape[0], q.shape[1] + k.shape[1]
    if tokens * heads == 0:  # an empty grid is an error
        return q_out, k_out
    with torch.cuda.device_of(q):  # Triton launches on the current device
        rope_kernel[(tokens, heads)](
            q.contiguous(),
            k.contiguous(),
            cos_sin_cache.contiguous(),
            positions,
            q_out,
            k_out,
            q.shape[1],
            k.shape[1],
            SIZE=HEAD_SIZE,
            BLOCK=triton.next_power_of_2(HEAD_SIZE),
            ROTARY=ROTARY_DIM,
            IS_NEOX=NEOX,
            num_warps=1,
        )
    return q_out, k_out
