"""Split-KV decode of multi-head latent attention in Triton: partial results, then a merge.

The tokens of all requests stand in one list, kv_indices. Program p of the first kernel takes the
tokens [p * span, (p + 1) * span) of that list, whatever requests they belong to. So the work is
even however much lengths differ, and the host needs no lengths: no plan, no synchronisation.

A part is what one program found for one request. Part (p, r) lies in slot p + r: from one part to
the next p or r rises, so no two parts share a slot, and programs + requests - 1 slots are enough.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import math

import torch
import triton
import triton.language as tl

BLOCK_HEADS = 16  # rows of a tensor-core tile; fewer heads are padded
BLOCK_TOKENS = 32
BLOCK_REQUESTS = 1024
WARPS = 4
STAGES = 5  # of these, two for the token ids and two for the latents that they point to
MERGE_DIMS = 256
MERGE_PARTS = 32
PROGRAMS_PER_SM = 2  # as many as fit in the shared memory at BLOCK_TOKENS and STAGES
LOG2_E = 1.0 / math.log(2.0)


@triton.jit
def count_below(values, count, bound, BLOCK: tl.constexpr):
    """How many of values[:count] are below bound."""
    total = 0
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        value = tl.load(values + place, mask=place < count, other=2147483647)
        total += tl.sum((value < bound).to(tl.int32), axis=0)
    return total


# Not specialised on sizes that differ from call to call: that would compile anew.
@triton.jit(do_not_specialize=["requests", "tokens"])
def attend_parts(
    q_nope, q_pe, ckv, kpe, kv_indptr, kv_indices, part_output, part_lse,
    log2_scale, requests, tokens, span,
    q_nope_row, q_nope_head, q_pe_row, q_pe_head, ckv_row, kpe_row,
    HEADS: tl.constexpr, CKV: tl.constexpr, KPE: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
    FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v over one span of tokens, for BLOCK_HEADS heads, a part for each request."""
    program = tl.program_id(0)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    real = head < HEADS
    latent_dim, rope_dim = tl.arange(0, CKV), tl.arange(0, KPE)
    begin = program * span
    end = tl.minimum(begin + span, tokens)
    # Request r is touched where its end is past `begin` and its start is before `end`.
    first = count_below(kv_indptr + 1, requests, begin + 1, BLOCK_REQUESTS)
    last = count_below(kv_indptr, requests, end, BLOCK_REQUESTS)
    for request in range(first, last):
        low = tl.maximum(tl.load(kv_indptr + request), begin)
        high = tl.minimum(tl.load(kv_indptr + request + 1), end)
        if low < high:
            row = tl.cast(request, tl.int64)
            q_latent = tl.load(
                q_nope + row * q_nope_row + head[:, None] * q_nope_head + latent_dim[None, :],
                mask=real[:, None], other=0.0,
            ).to(FACTOR)  # fmt: skip
            q_rope = tl.load(
                q_pe + row * q_pe_row + head[:, None] * q_pe_head + rope_dim[None, :],
                mask=real[:, None], other=0.0,
            ).to(FACTOR)  # fmt: skip
            maximum = tl.full([BLOCK_HEADS], float("-inf"), tl.float32)
            total = tl.zeros([BLOCK_HEADS], tl.float32)
            output = tl.zeros([BLOCK_HEADS, CKV], tl.float32)
            for start in range(low, high, BLOCK_TOKENS):
                place = start + tl.arange(0, BLOCK_TOKENS)
                valid = place < high
                # int64: a cache of 4 million tokens has more than 2^31 elements.
                token = tl.load(kv_indices + place, mask=valid, other=0).to(tl.int64)
                # Zeros, not whatever stands there: 0 * NaN is NaN in the product with v.
                latent = tl.load(
                    ckv + token[:, None] * ckv_row + latent_dim[None, :],
                    mask=valid[:, None], other=0.0,
                ).to(FACTOR)  # fmt: skip
                rope = tl.load(
                    kpe + token[:, None] * kpe_row + rope_dim[None, :],
                    mask=valid[:, None], other=0.0,
                ).to(FACTOR)  # fmt: skip
                logits = tl.dot(q_latent, tl.trans(latent))
                logits = tl.dot(q_rope, tl.trans(rope), logits) * log2_scale
                logits = tl.where(valid[None, :], logits, float("-inf"))
                highest = tl.maximum(maximum, tl.max(logits, axis=1))
                weights = tl.exp2(logits - highest[:, None])
                fade = tl.exp2(maximum - highest)
                total = total * fade + tl.sum(weights, axis=1)
                output = tl.dot(weights.to(FACTOR), latent, output * fade[:, None])
                maximum = highest
            slot = (row + program) * HEADS + head
            tl.store(part_lse + slot, maximum + tl.log2(total), mask=real)
            tl.store(
                part_output + slot[:, None] * CKV + latent_dim[None, :],
                output / total[:, None], mask=real[:, None],
            )  # fmt: skip


@triton.jit
def merge_parts(
    part_output, part_lse, kv_indptr, output, lse, span,
    HEADS: tl.constexpr, CKV: tl.constexpr, MERGE_DIMS: tl.constexpr, MERGE_PARTS: tl.constexpr,
):  # fmt: skip
    """The parts of one request and head as one result; 0 and -inf where there is none."""
    request, head = tl.program_id(0), tl.program_id(1)
    dim = tl.program_id(2) * MERGE_DIMS + tl.arange(0, MERGE_DIMS)
    low, high = tl.load(kv_indptr + request), tl.load(kv_indptr + request + 1)
    first = low // span
    last = tl.where(high > low, tl.cdiv(high, span), first)
    maximum = tl.full([1], float("-inf"), tl.float32)
    total = tl.zeros([1], tl.float32)
    merged = tl.zeros([MERGE_DIMS], tl.float32)
    for start in range(first, last, MERGE_PARTS):
        program = start + tl.arange(0, MERGE_PARTS)
        valid = program < last
        slot = (program + request).to(tl.int64) * HEADS + head
        log = tl.load(part_lse + slot, mask=valid, other=float("-inf"))
        part = tl.load(
            part_output + slot[:, None] * CKV + dim[None, :], mask=valid[:, None], other=0.0
        )
        highest = tl.maximum(maximum, tl.max(log, axis=0))
        weights = tl.exp2(log - highest)
        fade = tl.exp2(maximum - highest)
        total = total * fade + tl.sum(weights, axis=0)
        merged = merged * fade + tl.sum(weights[:, None] * part, axis=0)
        maximum = highest
    total = tl.where(total > 0, total, 1.0)  # no part: 0 / 1 and -inf + log2(1)
    place = request.to(tl.int64) * HEADS + head
    tl.store(output + place * CKV + dim, (merged / total).to(output.dtype.element_ty))
    one = tl.arange(0, 1)
    tl.store(
        lse + place + one, maximum + tl.log2(total), mask=one == tl.program_id(2)
    )  # by the first alone


def mla_decode(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv: torch.Tensor,
    kpe: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of one query token a request over a cache of latents.

    q_nope [requests, heads, ckv] and q_pe [requests, heads, kpe] with any strides but the last;
    ckv [tokens, ckv] and kpe [tokens, kpe] with any row stride. Returns output, like q_nope, and
    the base-2 log-sum-exp [requests, heads] in float32. Raises ValueError where a last dimension
    is not contiguous.
    """
    if any(x.stride(-1) != 1 for x in (q_nope, q_pe, ckv, kpe)):
        raise ValueError("mla_decode: the last dimension of q and of the caches must be contiguous")
    requests, heads, rank = q_nope.shape
    tokens = kv_indices.shape[0]
    output = torch.empty((requests, heads, rank), dtype=q_nope.dtype, device=q_nope.device)
    lse = torch.empty((requests, heads), dtype=torch.float32, device=q_nope.device)
    if requests == 0:
        return output, lse
    head_blocks = triton.cdiv(heads, BLOCK_HEADS)
    span = tokens_per_program(tokens, head_blocks, q_nope.device)
    programs = triton.cdiv(tokens, span)
    slots = programs + requests
    part_output = torch.empty((slots, heads, rank), dtype=torch.float32, device=q_nope.device)
    part_lse = torch.empty((slots, heads), dtype=torch.float32, device=q_nope.device)
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    factor = getattr(tl, str(q_nope.dtype).removeprefix("torch.")) if q_nope.is_cuda else tl.float32
    with torch.cuda.device_of(q_nope):  # Triton launches on the current device
        if programs:
            attend_parts[(programs, head_blocks)](
                q_nope, q_pe, ckv, kpe, kv_indptr, kv_indices, part_output, part_lse,
                sm_scale * LOG2_E, requests, tokens, span,
                q_nope.stride(0), q_nope.stride(1), q_pe.stride(0), q_pe.stride(1),
                ckv.stride(0), kpe.stride(0),
                heads, rank, q_pe.shape[-1], BLOCK_HEADS, BLOCK_TOKENS, BLOCK_REQUESTS,
                factor, num_warps=WARPS, num_stages=STAGES,
            )  # fmt: skip
        merge_parts[(requests, heads, triton.cdiv(rank, MERGE_DIMS))](
            part_output, part_lse, kv_indptr, output, lse, span,
            heads, rank, MERGE_DIMS, MERGE_PARTS,
        )  # fmt: skip
    return output, lse


def tokens_per_program(tokens: int, head_blocks: int, device: torch.device) -> int:
    """One wave of programs over all tokens, in whole blocks."""
    programs = max(1, PROGRAMS_PER_SM * multiprocessors(device) // head_blocks)
    return max(1, triton.cdiv(triton.cdiv(tokens, programs), BLOCK_TOKENS)) * BLOCK_TOKENS


def multiprocessors(device: torch.device) -> int:
    """The device's multiprocessors; 2 for a CPU (Triton's interpreter), so that work is split."""
    if device.type != "cuda":
        return 2
    return torch.cuda.get_device_properties(device).multi_processor_count
