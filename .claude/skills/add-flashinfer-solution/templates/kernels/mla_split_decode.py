"""Split-KV decode of absorbed multi-head latent attention in Triton, without a plan.

As `gqa_decode`: program p takes positions [p * span, (p + 1) * span) of the list of all cached
tokens, part (p, r) goes to slot p + r, what lies within one program is written at once. A latent is
read once and serves both products: it is the key (with the rope part) and the value. Parts are
merged by a second kernel: one program a head and request, since a part has 512 values a head.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .gqa_decode import BLOCK_REQUESTS, LOG2_E, MERGE_PARTS, SIZES, merge
from .latent_block import attend_list, store_heads
from .scratch import multiprocessors, workspace


@triton.jit(do_not_specialize=SIZES)
def attend_latents(
    q_nope, q_pe, ckv, kpe, kv_indptr, kv_indices, last_page_len, output, lse, part_output,
    part_lse, log2_scale, requests, positions, span, q_nope_row, q_nope_head, q_pe_row, q_pe_head,
    ckv_page, ckv_token, kpe_page, kpe_token,
    PAGE_SIZE: tl.constexpr, HEADS: tl.constexpr, CKV: tl.constexpr, KPE: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
    CHUNK: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v over one span of positions, for BLOCK_HEADS heads."""
    program = tl.program_id(1)
    head = tl.program_id(0) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    real = head < HEADS
    latent_dim = tl.arange(0, CKV)
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
    for request in range(first, last):
        row = tl.cast(request, tl.int64)
        request_low = tl.load(kv_indptr + request) * PAGE_SIZE
        request_high = tl.load(kv_indptr + request + 1) * PAGE_SIZE
        if (PAGE_SIZE > 1) & (request_low < request_high):
            request_high += tl.load(last_page_len + request) - PAGE_SIZE
        place = row * HEADS + head
        if request_low >= request_high:
            if (request_low >= begin) & ((request_low < end) | is_last):
                tl.store(
                    output + place[:, None] * CKV + latent_dim[None, :],
                    tl.zeros([BLOCK_HEADS, CKV], output.dtype.element_ty), mask=real[:, None],
                )  # fmt: skip
                tl.store(lse + place, tl.full([BLOCK_HEADS], float("-inf"), tl.float32), mask=real)
        else:
            low = tl.maximum(request_low, begin)
            high = tl.minimum(request_high, end)
            if low < high:
                result, log = attend_list(
                    q_nope + row * q_nope_row, q_pe + row * q_pe_row, head, q_nope_head, q_pe_head,
                    ckv, kpe, kv_indices, low, high, log2_scale, ckv_page, ckv_token, kpe_page,
                    kpe_token, HEADS, CKV, KPE, PAGE_SIZE, False, BLOCK_HEADS, BLOCK_TOKENS, CHUNK,
                    FACTOR,
                )  # fmt: skip
                if (low == request_low) & (high == request_high):
                    store_heads(output, row * HEADS, head, result, HEADS, CKV, CHUNK)
                    tl.store(lse + place, log, mask=real)
                else:
                    first_slot = (row + program) * HEADS
                    store_heads(part_output, first_slot, head, result, HEADS, CKV, CHUNK)
                    tl.store(part_lse + first_slot + head, log, mask=real)


def mla_decode(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    last_page_len: torch.Tensor | None,
    sm_scale: float,
    *,
    BLOCK_HEADS: int,
    BLOCK_TOKENS: int,
    PROGRAMS_PER_SM: int,
    LEAST_BLOCKS: int,
    CHUNK: int,
    num_warps: int,
    num_stages: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of one query token a request over a paged cache of latents.

    q_nope [requests, heads, ckv], q_pe [requests, heads, kpe], caches [pages, page size, ckv] and
    [pages, page size, kpe], with any strides but the last. last_page_len [requests], or None at
    page size 1. Returns output, like q_nope, and the base-2 log-sum-exp [requests, heads] in
    float32. Raises ValueError where a last dimension is not contiguous.
    """
    if any(x.stride(-1) != 1 for x in (q_nope, q_pe, ckv_cache, kpe_cache)):
        raise ValueError("mla_decode: the last dimension of q and of the caches must be contiguous")
    requests, heads, rank = q_nope.shape
    page_size = ckv_cache.shape[1]
    output = torch.empty((requests, heads, rank), dtype=q_nope.dtype, device=q_nope.device)
    lse = torch.empty((requests, heads), dtype=torch.float32, device=q_nope.device)
    if requests == 0:
        return output, lse
    head_blocks = triton.cdiv(heads, BLOCK_HEADS)
    positions = kv_indices.shape[0] * page_size
    programs = max(1, PROGRAMS_PER_SM * multiprocessors(q_nope.device) // head_blocks)
    blocks = max(LEAST_BLOCKS, triton.cdiv(triton.cdiv(positions, programs), BLOCK_TOKENS))
    span = blocks * BLOCK_TOKENS
    programs = max(1, triton.cdiv(positions, span))
    slots = triton.cdiv((programs + requests) * heads, 64) * 64  # keeps the parts aligned
    scratch = workspace(q_nope.device)
    scratch.reserve(slots * (rank + 1), 0)
    part_output, part_lse = scratch.parts[slots:], scratch.parts
    if last_page_len is None:
        last_page_len = kv_indptr  # not read
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    factor = getattr(tl, str(q_nope.dtype).removeprefix("torch.")) if q_nope.is_cuda else tl.float32
    with torch.cuda.device_of(q_nope):  # Triton launches on the current device
        attend_latents[(head_blocks, programs)](
            q_nope, q_pe, ckv_cache, kpe_cache, kv_indptr, kv_indices, last_page_len, output, lse,
            part_output, part_lse, float(sm_scale) * LOG2_E, requests, positions, span,
            q_nope.stride(0), q_nope.stride(1), q_pe.stride(0), q_pe.stride(1),
            ckv_cache.stride(0), ckv_cache.stride(1), kpe_cache.stride(0), kpe_cache.stride(1),
            page_size, heads, rank, q_pe.shape[-1], BLOCK_HEADS, BLOCK_TOKENS, BLOCK_REQUESTS,
            min(CHUNK, rank), factor, num_warps=num_warps,
            num_stages=num_stages,
        )  # fmt: skip
        if programs > 1:
            merge[(requests, heads)](
                part_output, part_lse, kv_indptr, last_page_len, output, lse, span,
                page_size, rank, triton.next_power_of_2(rank), MERGE_PARTS, num_warps=4,
            )  # fmt: skip
    return output, lse
