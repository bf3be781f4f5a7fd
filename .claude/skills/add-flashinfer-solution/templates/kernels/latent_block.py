"""Attention of a few heads over a list of cached latents in Triton: the loop that decodes share.

A latent is read once and serves both products: it is the key (with the rope part) and the value.

A block is read in CHUNKs of columns. The narrower they are, the fewer rows a thread holds, and so
the fewer addresses it computes: in chunks of 128 the loop has a quarter fewer instructions than in
one of 512.

Tried on an H200 and left: both products turned over (tokens x heads), so that tokens fill the 64
rows of Hopper's wide instruction and 16 heads are its columns. It was right in part only, and took
16 to 30 % longer.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import functools

import torch
import triton
import triton.language as tl

# For other devices than Hopper: what fits in 99 KiB of shared memory.
ELSEWHERE = {
    "BLOCK_TOKENS": 32,
    "CHUNK": 128,
    "num_warps": 4,
    "num_stages": 5,
}


@functools.cache
def is_hopper(device: torch.device) -> bool:
    """Whether it is one; so, too, a CPU (Triton's interpreter)."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[0] == 9


def fitting(parameters: dict[str, int], device: torch.device) -> dict[str, int]:
    """Tuned parameters, or ones that any device has room for: the table is Hopper's."""
    return parameters if is_hopper(device) else {**parameters, **ELSEWHERE}


@triton.jit
def finite(x):
    """x with 0 in place of -inf: what exponents are taken relative to."""
    return tl.where(x == float("-inf"), 0.0, x)


@triton.jit
def entries(ids, position, high, PAGE_SIZE: tl.constexpr, SLOTS: tl.constexpr):
    """The list's entries at these positions: slots of the cache, or pages of PAGE_SIZE positions.
    Past the end the last one, for a mask would be kept in registers for as long as entries are
    ahead of what they point to."""
    place = tl.minimum(position, high - 1)
    return tl.load(ids + (place if SLOTS else place // PAGE_SIZE))


@triton.jit
def latents(
    cache, entry, position, high, page_stride, token_stride, DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr, SLOTS: tl.constexpr, FACTOR: tl.constexpr, FIRST: tl.constexpr = 0,
):  # fmt: skip
    """DIM values from FIRST on for each entry. Where there is no token zeros, not whatever stands
    there: 0 * NaN is NaN in the product with v."""
    if SLOTS:
        valid = (entry >= 0) & (position < high)
        entry = entry.to(tl.int64)
        place = entry // PAGE_SIZE * page_stride + entry % PAGE_SIZE * token_stride
    else:
        valid = position < high
        # int64: a cache of 4 million tokens has more than 2^31 elements.
        place = entry.to(tl.int64) * page_stride
        if PAGE_SIZE > 1:
            place += position % PAGE_SIZE * token_stride
    dim = FIRST + tl.arange(0, DIM)
    return tl.load(
        cache + place[:, None] + dim[None, :], mask=valid[:, None], other=0.0
    ).to(FACTOR)  # fmt: skip


@triton.jit
def queries(
    q_nope, q_pe, head, q_nope_head, q_pe_head, HEADS: tl.constexpr, KPE: tl.constexpr,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """The latent part of a query in chunks, and its rope part: heads x dims."""
    real = (head < HEADS)[:, None]
    rope_dim = tl.arange(0, KPE)
    q_rope = tl.load(
        q_pe + head[:, None] * q_pe_head + rope_dim[None, :], mask=real, other=0.0
    ).to(FACTOR)  # fmt: skip
    q_latent = ()
    for i in tl.static_range(CHUNKS):
        place = head[:, None] * q_nope_head + (i * CHUNK + tl.arange(0, CHUNK))[None, :]
        q_latent = q_latent + (tl.load(q_nope + place, mask=real, other=0.0).to(FACTOR),)
    return q_latent, q_rope


@triton.jit
def scores(q_latent, q_rope, latent, rope, valid, log2_scale, CHUNKS: tl.constexpr):
    """Logits in base 2 of one block of tokens: heads x tokens."""
    logits = tl.dot(q_rope, tl.trans(rope))
    for i in tl.static_range(CHUNKS):
        logits = tl.dot(q_latent[i], tl.trans(latent[i]), logits)
    return tl.where(valid[None, :], logits * log2_scale, float("-inf"))


@triton.jit
def add_block(logits, latent, maximum, total, result, CHUNKS: tl.constexpr, FACTOR: tl.constexpr):
    """One block of tokens into the running maximum, sum and result."""
    highest = tl.maximum(maximum, tl.max(logits, axis=1))
    steady = finite(highest)  # a block of nothing but padding
    weights = tl.exp2(logits - steady[:, None])
    fade = tl.exp2(maximum - steady)
    total = total * fade + tl.sum(weights, axis=1)
    weights = weights.to(FACTOR)
    added = ()
    for i in tl.static_range(CHUNKS):
        added = added + (tl.dot(weights, latent[i], result[i] * fade[:, None]),)
    return highest, total, added


@triton.jit
def attend_list(
    q_nope, q_pe, head, q_nope_head, q_pe_head, ckv, kpe, ids, low, high, log2_scale,
    ckv_page, ckv_token, kpe_page, kpe_token,
    HEADS: tl.constexpr, CKV: tl.constexpr, KPE: tl.constexpr, PAGE_SIZE: tl.constexpr,
    SLOTS: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_TOKENS: tl.constexpr,
    CHUNK: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v over positions low..high of the list, for BLOCK_HEADS heads of one query.

    Returns the result, heads x dims in chunks of CHUNK dims, and the base-2 log-sum-exp. Nothing
    but padding gives 0 and -inf.
    """
    CHUNKS: tl.constexpr = CKV // CHUNK
    q_latent, q_rope = queries(
        q_nope, q_pe, head, q_nope_head, q_pe_head, HEADS, KPE, CHUNK, CHUNKS, FACTOR
    )
    result = ()
    for _ in tl.static_range(CHUNKS):
        result = result + (tl.zeros([BLOCK_HEADS, CHUNK], tl.float32),)
    maximum = tl.full([BLOCK_HEADS], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_HEADS], tl.float32)
    offset = tl.arange(0, BLOCK_TOKENS)
    for start in range(low, high, BLOCK_TOKENS):
        position = start + offset
        entry = entries(ids, position, high, PAGE_SIZE, SLOTS)
        latent = ()
        for i in tl.static_range(CHUNKS):
            chunk = latents(
                ckv, entry, position, high, ckv_page, ckv_token, CHUNK, PAGE_SIZE, SLOTS, FACTOR,
                i * CHUNK,
            )  # fmt: skip
            latent = latent + (chunk,)
        rope = latents(
            kpe, entry, position, high, kpe_page, kpe_token, KPE, PAGE_SIZE, SLOTS, FACTOR
        )
        valid = position < high
        if SLOTS:
            valid = valid & (entry >= 0)
        logits = scores(q_latent, q_rope, latent, rope, valid, log2_scale, CHUNKS)
        maximum, total, result = add_block(logits, latent, maximum, total, result, CHUNKS, FACTOR)
    divisor = tl.where(total > 0, total, 1.0)
    divided = ()
    for i in tl.static_range(CHUNKS):
        divided = divided + (result[i] / divisor[:, None],)
    return divided, maximum + tl.log2(divisor)


@triton.jit
def store_heads(
    pointer, first, head, result, HEADS: tl.constexpr, CKV: tl.constexpr, CHUNK: tl.constexpr
):  # fmt: skip
    """A result of `attend_list` to rows first + head, for heads that there are."""
    for i in tl.static_range(CKV // CHUNK):
        place = (first + head)[:, None] * CKV + (i * CHUNK + tl.arange(0, CHUNK))[None, :]
        value = result[i].to(pointer.dtype.element_ty)
        tl.store(pointer + place, value, mask=(head < HEADS)[:, None])
