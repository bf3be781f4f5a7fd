"""Rotary embedding of q and k in one Triton launch, several heads of one token a program.

The heads of q and k are numbered through: a program takes BLOCK_HEADS of them, reads its token's
row of cosines and sines once and every element once. What is turned and what passes through are
tiles of their own, so that neighbouring threads read and write neighbouring elements: NEOX's two
halves are two tiles, the pairs of the other style one tile that is split in registers. Nothing of
q and k waits for the position: only the row of the cache does.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl


@triton.jit
def turn(first, second, cos, sin, kind):
    """A pair turned in float32, rounded once."""
    first, second = first.to(tl.float32), second.to(tl.float32)
    return (first * cos - second * sin).to(kind), (second * cos + first * sin).to(kind)


@triton.jit(do_not_specialize=["heads_q", "heads"])
def rope_kernel(
    q, k, cache, positions, q_out, k_out, heads_q, heads, q_token, q_head, k_token, k_head,
    cache_row, SIZE: tl.constexpr, ROTARY: tl.constexpr, NEOX: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_HALF: tl.constexpr, BLOCK_REST: tl.constexpr,
):  # fmt: skip
    """BLOCK_HEADS heads of one token; k's follow q's."""
    blocks = (heads + BLOCK_HEADS - 1) // BLOCK_HEADS
    # Tokens on the first axis: a grid's others end at 65,535.
    token = (tl.program_id(0) // blocks).to(tl.int64)
    head = tl.program_id(0) % blocks * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)[:, None]
    is_q, real, own = head < heads_q, head < heads, head - heads_q
    kind: tl.constexpr = q_out.dtype.element_ty
    HALF: tl.constexpr = ROTARY // 2
    source = tl.where(is_q, q + token * q_token + head * q_head, k + token * k_token + own * k_head)
    target = tl.where(
        is_q, q_out + (token * heads_q + head) * SIZE,
        k_out + (token * (heads - heads_q) + own) * SIZE,
    )  # fmt: skip
    pair = tl.arange(0, BLOCK_HALF)[None, :]
    row = cache + tl.load(positions + token).to(tl.int64) * cache_row
    cos = tl.load(row + pair, mask=pair < HALF, other=0.0).to(tl.float32)
    sin = tl.load(row + HALF + pair, mask=pair < HALF, other=0.0).to(tl.float32)
    if NEOX:
        inside = real & (pair < HALF)
        x = tl.load(source + pair, mask=inside, other=0.0)
        y = tl.load(source + HALF + pair, mask=inside, other=0.0)
    else:
        place = tl.arange(0, 2 * BLOCK_HALF)[None, :]
        inside = real & (place < ROTARY)
        both = tl.load(source + place, mask=inside, other=0.0)
        x, y = tl.split(tl.reshape(both, [BLOCK_HEADS, BLOCK_HALF, 2]))
    if ROTARY < SIZE:
        rest = ROTARY + tl.arange(0, BLOCK_REST)[None, :]
        passed = tl.load(source + rest, mask=real & (rest < SIZE), other=0.0)
        tl.store(target + rest, passed, mask=real & (rest < SIZE))
    x, y = turn(x, y, cos, sin, kind)
    if NEOX:
        tl.store(target + pair, x, mask=inside)
        tl.store(target + HALF + pair, y, mask=inside)
    else:
        turned = tl.reshape(tl.join(x, y), [BLOCK_HEADS, 2 * BLOCK_HALF])
        tl.store(target + place, turned, mask=inside)


def rotate(
    q: torch.Tensor,
    k: torch.Tensor,
    cache: torch.Tensor,
    positions: torch.Tensor,
    rotary_dim: int,
    neox: bool,
    *,
    BLOCK_HEADS: int,
    num_warps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [tokens, heads, size] and k [tokens, kv heads, size] with any strides but the last (slices
    of one projection need no copy), cache [positions, rotary_dim]: cosines, then sines; positions
    [tokens]. Returns both turned, contiguous. Raises ValueError for a rotary_dim that is odd or
    above the size."""
    tokens, heads_q, size = q.shape
    heads = heads_q + k.shape[1]
    if rotary_dim % 2 or not 0 < rotary_dim <= size:
        raise ValueError(f"rotate: rotary_dim {rotary_dim} must be even, and at most {size}")
    q_out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    k_out = torch.empty(k.shape, dtype=k.dtype, device=k.device)
    if tokens * heads == 0:  # an empty grid is an error
        return q_out, k_out
    q, k, cache = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, cache))
    with torch.cuda.device_of(q):  # Triton launches on the current device
        rope_kernel[(tokens * triton.cdiv(heads, BLOCK_HEADS),)](
            q, k, cache, positions.contiguous(), q_out, k_out, heads_q, heads, q.stride(0),
            q.stride(1), k.stride(0), k.stride(1), cache.stride(0), SIZE=size, ROTARY=rotary_dim,
            NEOX=neox, BLOCK_HEADS=BLOCK_HEADS,
            BLOCK_HALF=triton.next_power_of_2(rotary_dim // 2),
            BLOCK_REST=triton.next_power_of_2(max(1, size - rotary_dim)), num_warps=num_warps,
        )  # fmt: skip
    return q_out, k_out
