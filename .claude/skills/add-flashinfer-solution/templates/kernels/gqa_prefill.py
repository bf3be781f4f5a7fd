"""Causal prefill of grouped-query attention in Triton, over a paged cache or ragged keys: no plan.

A row is a query token and one of the query heads that share a KV head: BLOCK_ROWS rows are few
tokens and all of the group, so a key serves the whole group and the causal corner is small. How
many blocks a request has follows from qo_indptr on the device; the host knows an upper bound from
shapes, and programs beyond the last block end at once. Blocks are taken from the end: those with
the most keys come first, the short ones fill the rest of the last wave.

Keys before the corner need no mask: they run through a loop of their own.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import math

import torch
import triton
import triton.language as tl

BLOCK_REQUESTS = 256
LOG2_E = 1.0 / math.log(2.0)


@triton.jit
def blocks_of(qo_indptr, place, requests, GROUP: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """How many blocks of rows these requests have; none beyond the last request."""
    low = tl.load(qo_indptr + place, mask=place < requests, other=0)
    high = tl.load(qo_indptr + place + 1, mask=place < requests, other=0)
    return tl.cdiv((high - low) * GROUP, BLOCK_ROWS)


@triton.jit
def block_of(
    qo_indptr, requests, program,
    GROUP: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
):  # fmt: skip
    """The program's request and block in it, from the last block on; a negative block: none."""
    blocks = 0
    for start in range(0, requests, BLOCK_REQUESTS):
        place = start + tl.arange(0, BLOCK_REQUESTS)
        blocks += tl.sum(blocks_of(qo_indptr, place, requests, GROUP, BLOCK_ROWS), axis=0)
    target = blocks - 1 - program
    request, before, passed = 0, 0, 0
    for start in range(0, requests, BLOCK_REQUESTS):
        place = start + tl.arange(0, BLOCK_REQUESTS)
        count = blocks_of(qo_indptr, place, requests, GROUP, BLOCK_ROWS)
        ends = passed + tl.cumsum(count, axis=0)
        below = (ends <= target) & (place < requests)
        request += tl.sum(below.to(tl.int32), axis=0)
        before = tl.maximum(before, tl.max(tl.where(below, ends, 0), axis=0))
        passed += tl.sum(count, axis=0)
    return request, target - before


@triton.jit
def attend_keys(
    query, total, maximum, result, k, v, kv_indices, first_index, low, high, reach, scale,
    k_page, k_token, v_page, v_token,
    PAGE_SIZE: tl.constexpr, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr, MASKED: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Keys low..high of a request: what rows see so far, brought up to them. `reach` is the last
    key that a row may see."""
    dim = tl.arange(0, BLOCK_DIM)
    for start in range(low, high, BLOCK_TOKENS):
        position = start + tl.arange(0, BLOCK_TOKENS)
        valid = position < high
        # int64: a cache of 2^21 tokens with 8 heads of 128 has 2^31 elements.
        if PAGE_SIZE == 0:
            page = (first_index + position).to(tl.int64)
        elif MASKED:
            page = tl.load(kv_indices + first_index + position // PAGE_SIZE, mask=valid, other=0)
            page = page.to(tl.int64)
        else:
            page = tl.load(kv_indices + first_index + position // PAGE_SIZE).to(tl.int64)
        k_place, v_place = page * k_page, page * v_page
        if PAGE_SIZE > 1:
            k_place += (position % PAGE_SIZE) * k_token
            v_place += (position % PAGE_SIZE) * v_token
        k_places = k + k_place[:, None] + dim[None, :]
        v_places = v + v_place[:, None] + dim[None, :]
        # Zeros, not whatever stands there: 0 * NaN is NaN in the product with v.
        if MASKED:
            inside = valid[:, None] & (dim < DIM)[None, :]
            keys = tl.load(k_places, mask=inside, other=0.0).to(FACTOR)
        elif BLOCK_DIM != DIM:
            keys = tl.load(k_places, mask=(dim < DIM)[None, :], other=0.0).to(FACTOR)
        else:
            keys = tl.load(k_places).to(FACTOR)
        logits = tl.dot(query, tl.trans(keys))
        if MASKED:
            seen = valid[None, :] & (position[None, :] <= reach[:, None])
            logits = tl.where(seen, logits, float("-inf"))
        highest = tl.maximum(maximum, tl.max(logits, axis=1) * scale)
        # Rows that see nothing yet: relative to 0, not to -inf.
        steady = tl.where(highest == float("-inf"), 0.0, highest) if MASKED else highest
        weights = tl.exp2(logits * scale - steady[:, None])
        fade = tl.exp2(maximum - steady)
        total = total * fade + tl.sum(weights, axis=1)
        if MASKED:
            inside = valid[:, None] & (dim < DIM)[None, :]
            values = tl.load(v_places, mask=inside, other=0.0).to(FACTOR)
        elif BLOCK_DIM != DIM:
            values = tl.load(v_places, mask=(dim < DIM)[None, :], other=0.0).to(FACTOR)
        else:
            values = tl.load(v_places).to(FACTOR)
        result = tl.dot(weights.to(FACTOR), values, result * fade[:, None])
        maximum = highest
    return total, maximum, result


@triton.jit(do_not_specialize=["requests"])
def prefill_kernel(
    q, k, v, qo_indptr, kv_indptr, kv_indices, last_page_len, output, lse, log2_scale, requests,
    q_row, q_head, k_page, k_token, k_head, v_page, v_token, v_head,
    PAGE_SIZE: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
    FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v for BLOCK_ROWS rows (token, head of the group) of one request."""
    kv_head, heads = tl.program_id(1), tl.num_programs(1) * GROUP
    request, block = block_of(
        qo_indptr, requests, tl.program_id(0), GROUP, BLOCK_ROWS, BLOCK_REQUESTS
    )
    if block >= 0:
        q_low = tl.load(qo_indptr + request)
        q_len = tl.load(qo_indptr + request + 1) - q_low
        first_index = tl.load(kv_indptr + request)
        kv_len = tl.load(kv_indptr + request + 1) - first_index
        if PAGE_SIZE > 1:
            if kv_len > 0:
                kv_len = (kv_len - 1) * PAGE_SIZE + tl.load(last_page_len + request)
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        token, head = row // GROUP, kv_head * GROUP + row % GROUP
        dim = tl.arange(0, BLOCK_DIM)
        real = token < q_len
        within = real[:, None] & (dim < DIM)[None, :]
        place = (q_low + token).to(tl.int64)
        query = tl.load(
            q + (place * q_row + head * q_head)[:, None] + dim[None, :], mask=within, other=0.0
        ).to(FACTOR)
        # Logits are scaled within the exponent: the highest is the highest only if scale > 0.
        query = tl.where(log2_scale < 0, -query, query)
        scale = tl.abs(log2_scale)
        total = tl.zeros([BLOCK_ROWS], tl.float32)
        maximum = tl.full([BLOCK_ROWS], float("-inf"), tl.float32)
        result = tl.zeros([BLOCK_ROWS, BLOCK_DIM], tl.float32)
        reach = token + kv_len - q_len
        seen_by_all = block * BLOCK_ROWS // GROUP + kv_len - q_len + 1
        open_end = tl.maximum(tl.minimum(seen_by_all, kv_len), 0) // BLOCK_TOKENS * BLOCK_TOKENS
        last = tl.minimum((block * BLOCK_ROWS + BLOCK_ROWS - 1) // GROUP, q_len - 1)
        end = tl.minimum(last + kv_len - q_len + 1, kv_len)
        k += kv_head * k_head
        v += kv_head * v_head
        total, maximum, result = attend_keys(
            query, total, maximum, result, k, v, kv_indices, first_index, 0, open_end, reach,
            scale, k_page, k_token, v_page, v_token, PAGE_SIZE, DIM, BLOCK_DIM, BLOCK_TOKENS,
            False, FACTOR,
        )  # fmt: skip
        total, maximum, result = attend_keys(
            query, total, maximum, result, k, v, kv_indices, first_index, open_end, end, reach,
            scale, k_page, k_token, v_page, v_token, PAGE_SIZE, DIM, BLOCK_DIM, BLOCK_TOKENS,
            True, FACTOR,
        )  # fmt: skip
        divisor = tl.where(total > 0, total, 1.0)  # a row without keys: 0 and -inf
        place = place * heads + head
        tl.store(
            output + place[:, None] * DIM + dim[None, :],
            (result / divisor[:, None]).to(output.dtype.element_ty), mask=within,
        )  # fmt: skip
        tl.store(lse + place, maximum + tl.log2(divisor), mask=real)


def gqa_prefill(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor | None,
    last_page_len: torch.Tensor | None,
    sm_scale: float,
    *,
    BLOCK_ROWS: int,
    BLOCK_TOKENS: int,
    num_warps: int,
    num_stages: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention, bottom-right: query i sees keys up to i + keys - queries of its request.

    q [tokens, heads, d], each token of a request. With kv_indices, k and v are caches [pages, page
    size, kv heads, d] (and last_page_len [requests] is needed above page size 1); without, they are
    ragged [keys, kv heads, d]. Any strides but the last. Returns output like q and the base-2
    log-sum-exp [tokens, heads] in float32; 0 and -inf where there is no key. Raises ValueError
    where a last dimension is not contiguous.
    """
    if any(x.stride(-1) != 1 for x in (q, k, v)):
        raise ValueError("gqa_prefill: the last dimension of q, k and v must be contiguous")
    tokens, heads, dim = q.shape
    kv_heads, requests = k.shape[-2], qo_indptr.shape[0] - 1
    output = torch.empty((tokens, heads, dim), dtype=q.dtype, device=q.device)
    lse = torch.empty((tokens, heads), dtype=torch.float32, device=q.device)
    if tokens == 0:  # an empty grid is an error
        return output, lse
    paged = kv_indices is not None
    page_size = k.shape[1] if paged else 0
    group, block_dim = heads // kv_heads, triton.next_power_of_2(dim)
    blocks = tokens * group // BLOCK_ROWS + requests
    k_strides = (k.stride(0), k.stride(1) if paged else 0, k.stride(-2))
    v_strides = (v.stride(0), v.stride(1) if paged else 0, v.stride(-2))
    kv_indices = kv_indices if paged else kv_indptr  # not read
    last_page_len = kv_indptr if last_page_len is None else last_page_len  # not read
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    factor = getattr(tl, str(q.dtype).removeprefix("torch.")) if q.is_cuda else tl.float32
    with torch.cuda.device_of(q):  # Triton launches on the current device
        prefill_kernel[(blocks, kv_heads)](
            q, k, v, qo_indptr, kv_indptr, kv_indices, last_page_len, output, lse,
            float(sm_scale) * LOG2_E, requests, q.stride(0), q.stride(1), *k_strides, *v_strides,
            page_size, group, dim, block_dim, BLOCK_ROWS, BLOCK_TOKENS, BLOCK_REQUESTS, factor,
            num_warps=num_warps, num_stages=num_stages,
        )  # fmt: skip
    return output, lse
