"""Paged GQA decode, one token a page: a program a request and KV head, online softmax."""

import torch
import triton
import triton.language as tl

BLOCK_T = 32
NUM_WARPS = 4


@triton.jit
def decode_kernel(
    q, k_cache, v_cache, indptr, indices, output, lse, scale, heads, kv_heads,
    GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    request, kv_head = tl.program_id(0), tl.program_id(1)
    start, end = tl.load(indptr + request), tl.load(indptr + request + 1)
    row, column, slot = tl.arange(0, ROWS), tl.arange(0, DIM), tl.arange(0, BT)
    head = kv_head * GROUP + row
    place = (request * heads + head).to(tl.int64)
    wanted = row < GROUP
    query = tl.load(q + place[:, None] * DIM + column[None, :], mask=wanted[:, None], other=0.0)
    highest = tl.full((ROWS,), -float("inf"), tl.float32)
    mass = tl.zeros((ROWS,), tl.float32)
    total = tl.zeros((ROWS, DIM), tl.float32)
    for first in range(start, end, BT):
        inside = first + slot < end
        token = tl.load(indices + first + slot, mask=inside, other=0).to(tl.int64)
        offset = (token * kv_heads + kv_head)[:, None] * DIM + column[None, :]
        keys = tl.load(k_cache + offset, mask=inside[:, None], other=0.0)
        logits = tl.dot(query, tl.trans(keys)) * (scale * 1.4426950408889634)
        logits = tl.where(inside[None, :], logits, -float("inf"))
        peak = tl.maximum(highest, tl.max(logits, axis=1))
        weights = tl.exp2(logits - peak[:, None])
        shrink = tl.exp2(highest - peak)
        values = tl.load(v_cache + offset, mask=inside[:, None], other=0.0)
        mass = mass * shrink + tl.sum(weights, axis=1)
        total = total * shrink[:, None] + tl.dot(weights.to(values.dtype), values)
        highest = peak
    result = total / tl.where(mass > 0, mass, 1.0)[:, None]
    target = output + place[:, None] * DIM + column[None, :]
    tl.store(target, result.to(output.dtype.element_ty), mask=wanted[:, None])
    tl.store(lse + place, highest + tl.log2(mass), mask=wanted)


@torch.no_grad()
def run(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale, output, lse):
    batch, heads, dim = q.shape
    kv_heads = k_cache.shape[2]
    group = heads // kv_heads
    decode_kernel[(batch, kv_heads)](
        q, k_cache, v_cache, kv_indptr, kv_indices, output, lse, sm_scale, heads, kv_heads,
        GROUP=group, ROWS=max(16, triton.next_power_of_2(group)), DIM=dim, BT=BLOCK_T,
        num_warps=NUM_WARPS,
    )  # fmt: skip
