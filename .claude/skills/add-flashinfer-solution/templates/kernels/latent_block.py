"""Attention of a few heads over a list of cached latents in Triton: the loop that decodes share.

A latent is read once and serves both products: it is the key (with the rope part) and the value.

TRANSPOSED turns both products over: tokens x heads, then dims x heads. A block of latents is then
the left operand of both and is read from shared memory by the wide tensor-core instruction of
Hopper, whose 64 rows the tokens fill; the few heads are its columns. Not transposed, 16 heads are
the rows of the narrow instruction, and every warp reads q again for each block of tokens.

A block is read in CHUNKs of columns. The narrower they are, the fewer rows a thread holds, and so
the fewer addresses it computes: in chunks of 128 the loop has a quarter fewer instructions than in
one of 512.

ROPE_AHEAD fetches the rope part into registers, one block ahead, in place of shared memory: three
buffers of 64 latents then fit beside it. (Triton keeps one buffer more than are in flight where the
wide instruction reads them.)
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import functools

import torch
import triton
import triton.language as tl

# For other devices than Hopper: what fits in 99 KiB of shared memory, and the narrow instruction.
ELSEWHERE = {
    "BLOCK_TOKENS": 32,
    "CHUNK": 128,
    "TRANSPOSED": False,
    "ROPE_AHEAD": False,
    "num_warps": 4,
    "num_stages": 5,
}


@functools.cache
def is_hopper(device: torch.device) -> bool:
    """Whether the wide instruction is there; so, too, for a CPU (Triton's interpreter)."""
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
def scores(
    q_latent, q_rope, latent, rope, valid, log2_scale, CHUNKS: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):  # fmt: skip
    """Logits in base 2 of one block of tokens: tokens x heads, or heads x tokens."""
    if TRANSPOSED:
        logits = tl.dot(rope, tl.trans(q_rope))
        for i in tl.static_range(CHUNKS):
            logits = tl.dot(latent[i], tl.trans(q_latent[i]), logits)
    else:
        logits = tl.dot(q_rope, tl.trans(rope))
        for i in tl.static_range(CHUNKS):
            logits = tl.dot(q_latent[i], tl.trans(latent[i]), logits)
    there = tl.expand_dims(valid, 1 if TRANSPOSED else 0)
    return tl.where(there, logits * log2_scale, float("-inf"))


@triton.jit
def add_block(
    logits, latent, maximum, total, result, CHUNKS: tl.constexpr, TRANSPOSED: tl.constexpr,
    FACTOR: tl.constexpr,
):  # fmt: skip
    """One block of tokens into the running maximum, sum and result."""
    tokens: tl.constexpr = 0 if TRANSPOSED else 1
    heads: tl.constexpr = 1 - tokens
    highest = tl.maximum(maximum, tl.max(logits, axis=tokens))
    steady = finite(highest)  # a block of nothing but padding
    weights = tl.exp2(logits - tl.expand_dims(steady, tokens))
    fade = tl.exp2(maximum - steady)
    total = total * fade + tl.sum(weights, axis=tokens)
    weights = weights.to(FACTOR)
    fade = tl.expand_dims(fade, tokens)
    added = ()
    for i in tl.static_range(CHUNKS):
        if heads == 1:
            added = added + (tl.dot(tl.trans(latent[i]), weights, result[i] * fade),)
        else:
            added = added + (tl.dot(weights, latent[i], result[i] * fade),)
    return highest, total, added


@triton.jit
def attend_list(
    q_nope, q_pe, head, q_nope_head, q_pe_head, ckv, kpe, ids, low, high, log2_scale,
    ckv_page, ckv_token, kpe_page, kpe_token,
    HEADS: tl.constexpr, CKV: tl.constexpr, KPE: tl.constexpr, PAGE_SIZE: tl.constexpr,
    SLOTS: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_TOKENS: tl.constexpr,
    CHUNK: tl.constexpr, TRANSPOSED: tl.constexpr, ROPE_AHEAD: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v over positions low..high of the list, for BLOCK_HEADS heads of one query.

    Returns the result in chunks of CHUNK dims, dims x heads where TRANSPOSED and heads x dims where
    not, and the base-2 log-sum-exp. Nothing but padding gives 0 and -inf.
    """
    CHUNKS: tl.constexpr = CKV // CHUNK
    q_latent, q_rope = queries(
        q_nope, q_pe, head, q_nope_head, q_pe_head, HEADS, KPE, CHUNK, CHUNKS, FACTOR
    )
    result = ()
    for _ in tl.static_range(CHUNKS):
        if TRANSPOSED:
            result = result + (tl.zeros([CHUNK, BLOCK_HEADS], tl.float32),)
        else:
            result = result + (tl.zeros([BLOCK_HEADS, CHUNK], tl.float32),)
    maximum = tl.full([BLOCK_HEADS], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_HEADS], tl.float32)
    offset = tl.arange(0, BLOCK_TOKENS)
    if ROPE_AHEAD:
        entry = entries(ids, low + offset, high, PAGE_SIZE, SLOTS)
        next_entry = entries(ids, low + BLOCK_TOKENS + offset, high, PAGE_SIZE, SLOTS)
        rope = latents(
            kpe, entry, low + offset, high, kpe_page, kpe_token, KPE, PAGE_SIZE, SLOTS, FACTOR
        )
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
        if ROPE_AHEAD:
            ahead = position + BLOCK_TOKENS
            next_rope = latents(
                kpe, next_entry, ahead, high, kpe_page, kpe_token, KPE, PAGE_SIZE, SLOTS, FACTOR
            )
            next_entry = entries(ids, ahead + BLOCK_TOKENS, high, PAGE_SIZE, SLOTS)
        else:
            rope = latents(
                kpe, entry, position, high, kpe_page, kpe_token, KPE, PAGE_SIZE, SLOTS, FACTOR
            )
        valid = position < high
        if SLOTS:
            valid = valid & (entry >= 0)
        logits = scores(q_latent, q_rope, latent, rope, valid, log2_scale, CHUNKS, TRANSPOSED)
        maximum, total, result = add_block(
            logits, latent, maximum, total, result, CHUNKS, TRANSPOSED, FACTOR
        )
        if ROPE_AHEAD:
            rope = next_rope
    divisor = tl.where(total > 0, total, 1.0)
    share = tl.expand_dims(1.0 / divisor, 0 if TRANSPOSED else 1)
    divided = ()
    for i in tl.static_range(CHUNKS):
        divided = divided + (result[i] * share,)
    return divided, maximum + tl.log2(divisor)


@triton.jit
def store_heads(
    pointer, first, head, result, HEADS: tl.constexpr, CKV: tl.constexpr, CHUNK: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):  # fmt: skip
    """A result of `attend_list` to rows first + head, for heads that there are."""
    for i in tl.static_range(CKV // CHUNK):
        dim = i * CHUNK + tl.arange(0, CHUNK)
        value = result[i].to(pointer.dtype.element_ty)
        if TRANSPOSED:
            place = (first + head)[None, :] * CKV + dim[:, None]
            tl.store(pointer + place, value, mask=(head < HEADS)[None, :])
        else:
            place = (first + head)[:, None] * CKV + dim[None, :]
            tl.store(pointer + place, value, mask=(head < HEADS)[:, None])
