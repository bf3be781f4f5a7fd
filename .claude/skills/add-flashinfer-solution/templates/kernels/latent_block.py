"""Attention of a few heads over a list of cached latents in Triton: the loop that decodes share.

A latent is read once and serves both products: it is the key (with the rope part) and the value.

TRANSPOSED turns both products over: tokens x heads, then dims x heads. A block of latents is then
the left operand of both and is read from shared memory by the wide tensor-core instruction of
Hopper, whose 64 rows the tokens fill; the few heads are its columns. Not transposed, 16 heads are
the rows of the narrow instruction, and every warp reads q again for each block of tokens.

ROPE_AHEAD fetches the rope part into registers, one block ahead, in place of shared memory: three
buffers of 64 latents then fit beside it.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl


@triton.jit
def finite(x):
    """x with 0 in place of -inf: what exponents are taken relative to."""
    return tl.where(x == float("-inf"), 0.0, x)


@triton.jit
def entries(ids, position, high, PAGE_SIZE: tl.constexpr, SLOTS: tl.constexpr):
    """The list's entries at these positions: slots of the cache (-1 past the end), or pages of
    PAGE_SIZE positions."""
    if SLOTS:
        return tl.load(ids + position, mask=position < high, other=-1)
    return tl.load(ids + position // PAGE_SIZE, mask=position < high, other=0)


@triton.jit
def latents(
    cache, entry, position, high, page_stride, token_stride, DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr, SLOTS: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """DIM values for each entry. Zeros, not whatever stands there, where there is no token: 0 * NaN
    is NaN in the product with v."""
    if SLOTS:
        valid = entry >= 0
        entry = entry.to(tl.int64)
        place = entry // PAGE_SIZE * page_stride + entry % PAGE_SIZE * token_stride
    else:
        valid = position < high
        # int64: a cache of 4 million tokens has more than 2^31 elements.
        place = entry.to(tl.int64) * page_stride
        if PAGE_SIZE > 1:
            place += position % PAGE_SIZE * token_stride
    dim = tl.arange(0, DIM)
    return tl.load(
        cache + place[:, None] + dim[None, :], mask=valid[:, None], other=0.0
    ).to(FACTOR)  # fmt: skip


@triton.jit
def absorb(
    q_latent, q_rope, latent, rope, valid, maximum, total, result, log2_scale,
    TRANSPOSED: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """One block of tokens into the running maximum, sum and result."""
    if TRANSPOSED:
        logits = tl.dot(latent, tl.trans(q_latent))
        logits = tl.dot(rope, tl.trans(q_rope), logits) * log2_scale
        logits = tl.where(valid[:, None], logits, float("-inf"))
        highest = tl.maximum(maximum, tl.max(logits, axis=0))
        steady = finite(highest)  # a block of nothing but padding
        weights = tl.exp2(logits - steady[None, :])
        fade = tl.exp2(maximum - steady)
        total = total * fade + tl.sum(weights, axis=0)
        result = tl.dot(tl.trans(latent), weights.to(FACTOR), result * fade[None, :])
    else:
        logits = tl.dot(q_latent, tl.trans(latent))
        logits = tl.dot(q_rope, tl.trans(rope), logits) * log2_scale
        logits = tl.where(valid[None, :], logits, float("-inf"))
        highest = tl.maximum(maximum, tl.max(logits, axis=1))
        steady = finite(highest)
        weights = tl.exp2(logits - steady[:, None])
        fade = tl.exp2(maximum - steady)
        total = total * fade + tl.sum(weights, axis=1)
        result = tl.dot(weights.to(FACTOR), latent, result * fade[:, None])
    return highest, total, result


@triton.jit
def attend_list(
    q_latent, q_rope, ckv, kpe, ids, low, high, log2_scale, ckv_page, ckv_token, kpe_page,
    kpe_token, PAGE_SIZE: tl.constexpr, SLOTS: tl.constexpr, BLOCK_TOKENS: tl.constexpr,
    TRANSPOSED: tl.constexpr, ROPE_AHEAD: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v over positions low..high of the list: the result, divided already, dims x
    heads where TRANSPOSED and heads x dims where not, and the base-2 log-sum-exp. Nothing but
    padding gives 0 and -inf."""
    BLOCK_HEADS: tl.constexpr = q_latent.shape[0]
    CKV: tl.constexpr = q_latent.shape[1]
    KPE: tl.constexpr = q_rope.shape[1]
    maximum = tl.full([BLOCK_HEADS], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_HEADS], tl.float32)
    if TRANSPOSED:
        result = tl.zeros([CKV, BLOCK_HEADS], tl.float32)
    else:
        result = tl.zeros([BLOCK_HEADS, CKV], tl.float32)
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
        latent = latents(
            ckv, entry, position, high, ckv_page, ckv_token, CKV, PAGE_SIZE, SLOTS, FACTOR
        )
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
        if SLOTS:
            valid = entry >= 0
        else:
            valid = position < high
        maximum, total, result = absorb(
            q_latent, q_rope, latent, rope, valid, maximum, total, result, log2_scale,
            TRANSPOSED, FACTOR,
        )  # fmt: skip
        if ROPE_AHEAD:
            rope = next_rope
    divisor = tl.where(total > 0, total, 1.0)
    if TRANSPOSED:
        result = result / divisor[None, :]
    else:
        result = result / divisor[:, None]
    return result, maximum + tl.log2(divisor)


@triton.jit
def store_heads(
    pointer, first, head, result, HEADS: tl.constexpr, CKV: tl.constexpr, TRANSPOSED: tl.constexpr
):
    """A result of `attend_list` to rows first + head, for heads that there are."""
    dim = tl.arange(0, CKV)
    result = result.to(pointer.dtype.element_ty)
    if TRANSPOSED:
        place = (first + head)[None, :] * CKV + dim[:, None]
        tl.store(pointer + place, result, mask=(head < HEADS)[None, :])
    else:
        place = (first + head)[:, None] * CKV + dim[None, :]
        tl.store(pointer + place, result, mask=(head < HEADS)[:, None])
