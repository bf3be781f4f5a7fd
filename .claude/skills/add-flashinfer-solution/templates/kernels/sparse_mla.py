"""Absorbed latent attention over the cache slots that each token names, in Triton: split, merge.

Every token has as many slots (padding included), so parts lie in a plain grid: token, split, head.
Few tokens are split until the device is full; many are not, and their result is written at once.
Padding (-1) may stand anywhere: it reads nothing and counts nothing, and a token of nothing but
padding gives 0 and -inf.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import math

import torch
import triton
import triton.language as tl

from .latent_block import attend_list, finite, store_heads
from .scratch import multiprocessors, workspace

LOG2_E = 1.0 / math.log(2.0)
MERGE_DIMS = 128
MERGE_PARTS = 16


@triton.jit(do_not_specialize=["span"])
def attend_slots(
    q_nope, q_pe, ckv, kpe, slots, output, lse, part_output, part_lse, log2_scale, span,
    q_nope_token, q_nope_head, q_pe_token, q_pe_head, ckv_page, ckv_row, kpe_page, kpe_row,
    PAGE_SIZE: tl.constexpr, TOPK: tl.constexpr, HEADS: tl.constexpr, CKV: tl.constexpr,
    KPE: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_TOKENS: tl.constexpr,
    CHUNK: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v over one span of a token's slots, for BLOCK_HEADS heads."""
    head_blocks: tl.constexpr = (HEADS + BLOCK_HEADS - 1) // BLOCK_HEADS
    # Tokens on the first axis: a grid's others end at 65,535. Blocks of heads share what they read.
    head = tl.program_id(0) % head_blocks * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    split, token = tl.program_id(1), (tl.program_id(0) // head_blocks).to(tl.int64)
    real = head < HEADS
    begin = split * span
    result, log = attend_list(
        q_nope + token * q_nope_token, q_pe + token * q_pe_token, head, q_nope_head, q_pe_head,
        ckv, kpe, slots + token * TOPK, begin, tl.minimum(begin + span, TOPK), log2_scale,
        ckv_page, ckv_row, kpe_page, kpe_row, HEADS, CKV, KPE, PAGE_SIZE, True, BLOCK_HEADS,
        BLOCK_TOKENS, CHUNK, FACTOR,
    )  # fmt: skip
    if tl.num_programs(1) == 1:
        tl.store(lse + token * HEADS + head, log, mask=real)
        store_heads(output, token * HEADS, head, result, HEADS, CKV, CHUNK)
    else:
        first = (token * tl.num_programs(1) + split) * HEADS
        tl.store(part_lse + first + head, log, mask=real)
        store_heads(part_output, first, head, result, HEADS, CKV, CHUNK)


@triton.jit
def merge_splits(
    part_output, part_lse, output, lse, splits,
    HEADS: tl.constexpr, CKV: tl.constexpr, DIMS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The parts of one token and head, DIMS of its dims."""
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    dim = tl.program_id(2) * DIMS + tl.arange(0, DIMS)
    maximum = float("-inf")
    total = 0.0
    merged = tl.zeros([DIMS], tl.float32)
    for start in range(0, splits, PARTS):
        split = start + tl.arange(0, PARTS)
        place = (token * splits + split) * HEADS + head
        log = tl.load(part_lse + place, mask=split < splits, other=float("-inf"))
        part = tl.load(
            part_output + place[:, None] * CKV + dim[None, :],
            mask=(split < splits)[:, None] & (dim < CKV)[None, :], other=0.0,
        )  # fmt: skip
        highest = tl.maximum(maximum, tl.max(log, axis=0))
        steady = finite(highest)
        weights = tl.exp2(log - steady)
        fade = tl.exp2(maximum - steady)
        total = total * fade + tl.sum(weights, axis=0)
        merged = merged * fade + tl.sum(weights[:, None] * part, axis=0)
        maximum = highest
    divisor = tl.where(total > 0, total, 1.0)
    row = token * HEADS + head
    tl.store(
        output + row * CKV + dim, (merged / divisor).to(output.dtype.element_ty), mask=dim < CKV
    )
    if tl.program_id(2) == 0:
        tl.store(lse + row, maximum + tl.log2(divisor))


def sparse_mla(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    slots: torch.Tensor,
    sm_scale: float,
    *,
    BLOCK_HEADS: int,
    BLOCK_TOKENS: int,
    PROGRAMS_PER_SM: int,
    CHUNK: int,
    num_warps: int,
    num_stages: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q_nope [tokens, heads, ckv], q_pe [tokens, heads, kpe], caches [pages, page size, dim] with
    any strides but the last, slots [tokens, topk]. Returns output like q_nope and the base-2
    log-sum-exp [tokens, heads] in float32. Raises ValueError where a last dimension is not
    contiguous."""
    if any(x.stride(-1) != 1 for x in (q_nope, q_pe, ckv_cache, kpe_cache)):
        raise ValueError("sparse_mla: the last dimension of q and of the caches must be contiguous")
    (tokens, heads, rank), topk = q_nope.shape, slots.shape[1]
    device = q_nope.device
    output = torch.empty((tokens, heads, rank), dtype=q_nope.dtype, device=device)
    lse = torch.empty((tokens, heads), dtype=torch.float32, device=device)
    if tokens == 0:  # an empty grid is an error
        return output, lse
    head_blocks = triton.cdiv(heads, BLOCK_HEADS)
    wanted = max(1, PROGRAMS_PER_SM * multiprocessors(device) // (head_blocks * tokens))
    span = triton.cdiv(triton.cdiv(topk, wanted), BLOCK_TOKENS) * BLOCK_TOKENS
    splits = triton.cdiv(topk, span)
    rows = triton.cdiv(tokens * splits * heads, 64) * 64  # keeps the parts aligned
    scratch = workspace(device)
    if splits > 1:
        scratch.reserve(rows * (rank + 1), 0)
    part_output, part_lse = scratch.parts[rows:], scratch.parts
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    factor = getattr(tl, str(q_nope.dtype).removeprefix("torch.")) if q_nope.is_cuda else tl.float32
    with torch.cuda.device_of(q_nope):  # Triton launches on the current device
        attend_slots[(head_blocks * tokens, splits)](
            q_nope, q_pe, ckv_cache, kpe_cache, slots.contiguous(), output, lse, part_output,
            part_lse, float(sm_scale) * LOG2_E, span, q_nope.stride(0), q_nope.stride(1),
            q_pe.stride(0), q_pe.stride(1), ckv_cache.stride(0), ckv_cache.stride(1),
            kpe_cache.stride(0), kpe_cache.stride(1), ckv_cache.shape[1], topk, heads, rank,
            q_pe.shape[-1], BLOCK_HEADS, BLOCK_TOKENS, min(CHUNK, rank),
            factor, num_warps=num_warps, num_stages=num_stages,
        )  # fmt: skip
        if splits > 1:
            merge_splits[(tokens, heads, triton.cdiv(rank, MERGE_DIMS))](
                part_output, part_lse, output, lse, splits, heads, rank, MERGE_DIMS, MERGE_PARTS,
                num_warps=2,
            )  # fmt: skip
    return output, lse
