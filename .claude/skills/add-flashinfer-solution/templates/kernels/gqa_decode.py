"""Split-KV decode of grouped-query attention in Triton, without a plan: one launch, or two.

The cached tokens of all requests stand in one list, in the order of kv_indices (an entry is a page
of PAGE_SIZE positions). Program p takes positions [p * span, (p + 1) * span) of that list, whatever
requests they belong to, for one KV head. So the work is even however much lengths differ; the host
needs the length of the list, which is a shape, and reads nothing from the device.

What one program finds for one request is a part. A request that lies within one program has its
result written at once. Otherwise part (p, r) goes to slot p + r: from one part to the next p or r
rises, so no two share a slot, and programs + requests slots are enough. The program that arrives
last at a request merges its parts (`MERGE_IN_KERNEL`), or a second kernel does.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import math

import torch
import triton
import triton.language as tl

from .scratch import multiprocessors, workspace

BLOCK_REQUESTS = 256
MERGE_ROWS = 64  # parts times heads that are merged at a time
MERGE_PARTS = 16  # of one head, in a kernel of its own
LOG2_E = 1.0 / math.log(2.0)
SIZES = ["requests", "positions", "span"]  # not specialised on: that would compile anew


@triton.jit
def merge_parts(
    part_output, part_lse, output, lse, row, head, first, last, heads_in_all,
    DIM: tl.constexpr, GROUP: tl.constexpr, BLOCK_GROUP: tl.constexpr, BLOCK_DIM: tl.constexpr,
    PARTS: tl.constexpr,
):  # fmt: skip
    """Programs first..last of request `row` as one result, for GROUP heads from `head` on.

    Parts lie along the middle axis: a thread then holds all parts of its values, and sums them
    alone. (Triton gives the first axis to the warps: parts there cost 19 barriers a block.)
    """
    heads, dim = tl.arange(0, BLOCK_GROUP), tl.arange(0, BLOCK_DIM)
    real = (heads < GROUP)[:, None] & (dim < DIM)[None, :]
    maximum = tl.full([BLOCK_GROUP], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_GROUP], tl.float32)
    merged = tl.zeros([BLOCK_GROUP, BLOCK_DIM], tl.float32)
    for start in range(first, last + 1, PARTS):
        program = start + tl.arange(0, PARTS)
        slot = (program.to(tl.int64) + row)[None, :] * heads_in_all + head + heads[:, None]
        valid = (program <= last)[None, :] & (heads < GROUP)[:, None]
        log = tl.load(part_lse + slot, mask=valid, other=float("-inf"))
        part = tl.load(
            part_output + slot[:, :, None] * DIM + dim[None, None, :],
            mask=valid[:, :, None] & (dim < DIM)[None, None, :], other=0.0,
        )  # fmt: skip
        highest = tl.maximum(maximum, tl.max(log, axis=1))
        steady = tl.where(highest == float("-inf"), 0.0, highest)  # heads that pad the block
        weights = tl.exp2(log - steady[:, None])
        fade = tl.exp2(maximum - steady)
        total = total * fade + tl.sum(weights, axis=1)
        merged = merged * fade[:, None] + tl.sum(weights[:, :, None] * part, axis=1)
        maximum = highest
    place = row * heads_in_all + head + heads
    divisor = tl.where(heads < GROUP, total, 1.0)[:, None]
    tl.store(
        output + place[:, None] * DIM + dim[None, :],
        (merged / divisor).to(output.dtype.element_ty), mask=real,
    )  # fmt: skip
    tl.store(lse + place, maximum + tl.log2(total), mask=heads < GROUP)


@triton.jit(do_not_specialize=SIZES)
def attend(
    q, k_cache, v_cache, kv_indptr, kv_indices, last_page_len, output, lse, part_output, part_lse,
    arrived, log2_scale, requests, positions, span,
    q_row, q_head, k_page, k_token, k_head, v_page, v_token, v_head,
    PAGE_SIZE: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_GROUP: tl.constexpr,
    BLOCK_DIM: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
    MERGE_GROUP: tl.constexpr, PARTS: tl.constexpr, MERGE: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v over one span of positions for the query heads of one KV head."""
    kv_head, program = tl.program_id(0), tl.program_id(1)
    heads = tl.num_programs(0) * GROUP
    begin = program * span
    is_last = program == tl.num_programs(1) - 1
    end = tl.where(is_last, positions, tl.minimum(begin + span, positions))
    # Requests that this program touches; an empty one belongs to the program that its place is in.
    first, last = 0, 0
    for start in range(0, requests, BLOCK_REQUESTS):
        place = start + tl.arange(0, BLOCK_REQUESTS)
        low = tl.load(kv_indptr + place, mask=place < requests, other=2147483647 // PAGE_SIZE)
        high = tl.load(kv_indptr + place + 1, mask=place < requests, other=2147483647 // PAGE_SIZE)
        first += tl.sum((high * PAGE_SIZE < begin).to(tl.int32), axis=0)
        starts_here = (low * PAGE_SIZE < end) | (is_last & (place < requests))
        last += tl.sum(starts_here.to(tl.int32), axis=0)

    head = tl.arange(0, BLOCK_GROUP)
    dim = tl.arange(0, BLOCK_DIM)
    within = (head < GROUP)[:, None] & (dim < DIM)[None, :]
    for request in range(first, last):
        row = tl.cast(request, tl.int64)
        request_low = tl.load(kv_indptr + request) * PAGE_SIZE
        request_high = tl.load(kv_indptr + request + 1) * PAGE_SIZE
        if (PAGE_SIZE > 1) & (request_low < request_high):
            request_high += tl.load(last_page_len + request) - PAGE_SIZE
        place = row * heads + kv_head * GROUP + head
        if request_low >= request_high:
            if (request_low >= begin) & ((request_low < end) | is_last):
                tl.store(
                    output + place[:, None] * DIM + dim[None, :],
                    tl.zeros([BLOCK_GROUP, BLOCK_DIM], output.dtype.element_ty), mask=within,
                )  # fmt: skip
                nothing = tl.full([BLOCK_GROUP], float("-inf"), tl.float32)
                tl.store(lse + place, nothing, mask=head < GROUP)
        else:
            low = tl.maximum(request_low, begin)
            high = tl.minimum(request_high, end)
            if low < high:
                query = tl.load(
                    q + row * q_row + (kv_head * GROUP + head)[:, None] * q_head + dim[None, :],
                    mask=within, other=0.0,
                ).to(FACTOR)  # fmt: skip
                maximum = tl.full([BLOCK_GROUP], float("-inf"), tl.float32)
                total = tl.zeros([BLOCK_GROUP], tl.float32)
                result = tl.zeros([BLOCK_GROUP, BLOCK_DIM], tl.float32)
                for start in range(low, high, BLOCK_TOKENS):
                    position = start + tl.arange(0, BLOCK_TOKENS)
                    valid = position < high
                    # int64: a cache of 2^21 tokens with 8 heads of 128 has 2^31 elements.
                    page = tl.load(kv_indices + position // PAGE_SIZE, mask=valid, other=0)
                    page = page.to(tl.int64)
                    k_place = page * k_page + kv_head * k_head
                    v_place = page * v_page + kv_head * v_head
                    if PAGE_SIZE > 1:
                        k_place += (position % PAGE_SIZE) * k_token
                        v_place += (position % PAGE_SIZE) * v_token
                    # Zeros, not whatever stands there: 0 * NaN is NaN in the product with v.
                    inside = valid[:, None]
                    if BLOCK_DIM != DIM:
                        inside = inside & (dim < DIM)[None, :]
                    k = tl.load(k_cache + k_place[:, None] + dim[None, :], mask=inside, other=0.0)
                    logits = tl.dot(query, tl.trans(k.to(FACTOR))) * log2_scale
                    logits = tl.where(valid[None, :], logits, float("-inf"))
                    highest = tl.maximum(maximum, tl.max(logits, axis=1))
                    weights = tl.exp2(logits - highest[:, None])
                    fade = tl.exp2(maximum - highest)
                    v = tl.load(v_cache + v_place[:, None] + dim[None, :], mask=inside, other=0.0)
                    total = total * fade + tl.sum(weights, axis=1)
                    result = tl.dot(weights.to(FACTOR), v.to(FACTOR), result * fade[:, None])
                    maximum = highest
                result = result / total[:, None]
                log = maximum + tl.log2(total)
                if (low == request_low) & (high == request_high):
                    tl.store(
                        output + place[:, None] * DIM + dim[None, :],
                        result.to(output.dtype.element_ty), mask=within,
                    )  # fmt: skip
                    tl.store(lse + place, log, mask=head < GROUP)
                else:
                    slot = (row + program) * heads + kv_head * GROUP + head
                    tl.store(part_lse + slot, log, mask=head < GROUP)
                    tl.store(part_output + slot[:, None] * DIM + dim[None, :], result, mask=within)
                    if MERGE:
                        first_part = request_low // span
                        last_part = (request_high - 1) // span
                        tl.debug_barrier()  # all of the part is written before it is announced
                        ticket = arrived + row * tl.num_programs(0) + kv_head
                        if tl.atomic_add(ticket, 1, sem="acq_rel") == last_part - first_part:
                            tl.store(ticket, 0)  # for the next call
                            merge_parts(
                                part_output, part_lse, output, lse, row, kv_head * GROUP,
                                first_part, last_part, heads, DIM, GROUP, MERGE_GROUP, BLOCK_DIM,
                                PARTS,
                            )  # fmt: skip


@triton.jit(do_not_specialize=["span"])
def merge(
    part_output, part_lse, kv_indptr, last_page_len, output, lse, span,
    PAGE_SIZE: tl.constexpr, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The parts of one request and head, where it has several."""
    request, head = tl.program_id(0), tl.program_id(1)
    low = tl.load(kv_indptr + request) * PAGE_SIZE
    high = tl.load(kv_indptr + request + 1) * PAGE_SIZE
    if low < high:
        if PAGE_SIZE > 1:
            high += tl.load(last_page_len + request) - PAGE_SIZE
        first, last = low // span, (high - 1) // span
        if first < last:
            merge_parts(
                part_output, part_lse, output, lse, request.to(tl.int64), head, first, last,
                tl.num_programs(1), DIM, 1, 1, BLOCK_DIM, PARTS,
            )  # fmt: skip


def gqa_decode(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    last_page_len: torch.Tensor | None,
    sm_scale: float,
    *,
    BLOCK_TOKENS: int,
    PROGRAMS_PER_SM: int,
    LEAST_BLOCKS: int,
    MERGE_IN_KERNEL: bool,
    num_warps: int,
    num_stages: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of one query token a request over a paged cache.

    q [requests, heads, d], caches [pages, page size, kv heads, d] with any strides but the last.
    last_page_len [requests], or None at page size 1. Returns output [requests, heads, d] and the
    base-2 log-sum-exp [requests, heads] in float32. A program takes LEAST_BLOCKS blocks of
    BLOCK_TOKENS positions at least. Raises ValueError where a last dimension is not contiguous.
    """
    if any(x.stride(-1) != 1 for x in (q, k_cache, v_cache)):
        raise ValueError("gqa_decode: the last dimension of q and of the caches must be contiguous")
    requests, heads, dim = q.shape
    page_size, kv_heads = k_cache.shape[1], k_cache.shape[2]
    output = torch.empty((requests, heads, dim), dtype=q.dtype, device=q.device)
    lse = torch.empty((requests, heads), dtype=torch.float32, device=q.device)
    if requests == 0:
        return output, lse
    positions = kv_indices.shape[0] * page_size
    programs = max(1, PROGRAMS_PER_SM * multiprocessors(q.device) // kv_heads)
    blocks = max(LEAST_BLOCKS, triton.cdiv(triton.cdiv(positions, programs), BLOCK_TOKENS))
    span = blocks * BLOCK_TOKENS
    programs = max(1, triton.cdiv(positions, span))
    slots = triton.cdiv((programs + requests) * heads, 64) * 64  # keeps the parts aligned
    scratch = workspace(q.device)
    scratch.reserve(slots * (dim + 1), requests * kv_heads)
    part_output, part_lse = scratch.parts[slots:], scratch.parts
    if last_page_len is None:
        last_page_len = kv_indptr  # not read
    group, block_dim = heads // kv_heads, triton.next_power_of_2(dim)
    merge_group = triton.next_power_of_2(group)
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    factor = getattr(tl, str(q.dtype).removeprefix("torch.")) if q.is_cuda else tl.float32
    with torch.cuda.device_of(q):  # Triton launches on the current device
        attend[(kv_heads, programs)](
            q, k_cache, v_cache, kv_indptr, kv_indices, last_page_len, output, lse,
            part_output, part_lse, scratch.arrived, float(sm_scale) * LOG2_E,
            requests, positions, span, q.stride(0), q.stride(1),
            k_cache.stride(0), k_cache.stride(1), k_cache.stride(2),
            v_cache.stride(0), v_cache.stride(1), v_cache.stride(2),
            page_size, group, dim, max(16, merge_group), block_dim, BLOCK_TOKENS,
            BLOCK_REQUESTS, merge_group, max(1, MERGE_ROWS // merge_group), MERGE_IN_KERNEL, factor,
            num_warps=num_warps, num_stages=num_stages,
        )  # fmt: skip
        if programs > 1 and not MERGE_IN_KERNEL:
            merge[(requests, heads)](
                part_output, part_lse, kv_indptr, last_page_len, output, lse, span,
                page_size, dim, block_dim, MERGE_PARTS, num_warps=max(1, block_dim // 128),
            )  # fmt: skip
    return output, lse
