"""Causal GQA prefill for Hopper in Gluon: two warp groups that multiply, one that loads.

A program has 128 rows (token, head of the group) of one request, 64 for each of the two groups
that multiply. Within a group, the product of the next keys is issued before the softmax of the
current ones is done, and the product with the values runs below that softmax; the two groups
drift apart and fill what is left. Keys come from the last ones on: masked blocks are the first.
The loading warps use tensor descriptors, or cp.async of single rows where a page holds less than
a block (COPY).
"""

# ruff: noqa: ANN001, ANN201 (a kernel is compiled for each type it is called with)

import torch
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import async_copy
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

ROWS = gl.constexpr(64)  # of a warp group
LOADING_THREADS = gl.constexpr(128)  # of cp.async


@gluon.jit
def add(a, b):
    """The sum, for a scan."""
    return a + b


@gluon.jit
def place_of(qo_indptr, requests, program, GROUP: gl.constexpr, BLOCK_REQUESTS: gl.constexpr):
    """The program's request, from the last one on, and its place among the blocks of that request;
    -1 for the request: none."""
    layout: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    passed_requests, before, passed = 0, 0, 0
    for start in range(0, requests, BLOCK_REQUESTS):
        place = start + gl.arange(0, BLOCK_REQUESTS, layout)
        real = place < requests
        bounds = qo_indptr + (requests - 1 - place)
        rows = gl.load(bounds + 1, mask=real, other=0) - gl.load(bounds, mask=real, other=0)
        count = (rows * GROUP + 2 * ROWS - 1) // (2 * ROWS)
        ends = passed + gl.associative_scan(count, 0, add)
        below = (ends <= program) & real
        passed_requests += gl.sum(below.to(gl.int32), axis=0)
        before = gl.maximum(before, gl.max(gl.where(below, ends, 0), axis=0))
        passed += gl.sum(count, axis=0)
    return requests - 1 - passed_requests, program - before


@gluon.jit
def softmax(
    logits, maximum, total, start, reach, kv_len, scale,
    MASKED: gl.constexpr, NEGATIVE: gl.constexpr, BLOCK_TOKENS: gl.constexpr,
    LAYOUT: gl.constexpr,
):  # fmt: skip
    """Weights of a block of keys, the new maximum and sum, and how far what was fades."""
    if NEGATIVE:
        logits = -logits
    if MASKED:
        position = start + gl.arange(0, BLOCK_TOKENS, gl.SliceLayout(0, LAYOUT))
        seen = (position < kv_len)[None, :] & (position[None, :] <= reach[:, None])
        logits = gl.where(seen, logits, float("-inf"))
    highest = gl.maximum(maximum, gl.max(logits, axis=1) * scale)
    # Rows that see nothing yet: relative to 0, not to -inf.
    steady = gl.where(highest == float("-inf"), 0.0, highest) if MASKED else highest
    weights = gl.exp2(logits * scale - steady[:, None])
    fade = gl.exp2(maximum - steady)
    return weights, highest, total * fade + gl.sum(weights, axis=1), fade


@gluon.jit
def without_strangers(values, start, kv_len, BLOCK_TOKENS: gl.constexpr, DIM: gl.constexpr):
    """Zeros for values beyond the request's last key: 0 * NaN is NaN in the product. Both groups
    do it, with the same result."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // DIM, DIM // 8], [4, 1], [1, 0])
    for step in gl.static_range(BLOCK_TOKENS // 16):
        if start + step * 16 + 16 > kv_len:
            part = values.slice(step * 16, 16)
            position = start + step * 16 + gl.arange(0, 16, gl.SliceLayout(1, layout))
            found = part.load(layout)
            part.store(gl.where((position < kv_len)[:, None], found, gl.zeros_like(found)))
    fence_async_shared()


@gluon.jit
def steps(
    low, high, state, query, keys, values, key_full, key_empty, value_full, value_empty,
    blocks, reach, kv_len, scale,
    MASKED: gl.constexpr, NEGATIVE: gl.constexpr, COPY: gl.constexpr, STAGES: gl.constexpr,
    BLOCK_TOKENS: gl.constexpr, DIM: gl.constexpr,
):  # fmt: skip
    """Blocks low..high, counted from the last keys on; low is above 0. The weights of the block
    before are at hand, its values are multiplied here."""
    logits_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_TOKENS, 16])
    result_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, DIM, 16])
    weights_layout: gl.constexpr = gl.DotOperandLayout(0, result_layout, 2)
    weights, maximum, total, result = state
    for step in range(low, high):
        stage, before = step % STAGES, (step - 1) % STAGES
        mbarrier.wait(key_full.index(stage), (step // STAGES) & 1)
        if COPY:
            fence_async_shared()
        logits = gl.zeros([ROWS, BLOCK_TOKENS], gl.float32, logits_layout)
        logits = warpgroup_mma(
            query, keys.index(stage).permute((1, 0)), logits, use_acc=False, is_async=True
        )
        mbarrier.wait(value_full.index(before), ((step - 1) // STAGES) & 1)
        if COPY:
            fence_async_shared()
        result = warpgroup_mma(weights, values.index(before), result, is_async=True)
        logits = warpgroup_mma_wait(1, [logits])
        mbarrier.arrive(key_empty.index(stage), count=1)
        start = (blocks - 1 - step) * BLOCK_TOKENS
        new, maximum, total, fade = softmax(
            logits, maximum, total, start, reach, kv_len, scale, MASKED, NEGATIVE, BLOCK_TOKENS,
            logits_layout,
        )  # fmt: skip
        result = warpgroup_mma_wait(0, [result])
        mbarrier.arrive(value_empty.index(before), count=1)
        result = result * gl.convert_layout(fade, gl.SliceLayout(1, result_layout))[:, None]
        weights = gl.convert_layout(new.to(query.dtype), weights_layout)
    return weights, maximum, total, result


@gluon.jit
def multiply(
    part: gl.constexpr, shared, q, output, lse, scale, bounds, strides,
    GROUP: gl.constexpr, NEGATIVE: gl.constexpr, COPY: gl.constexpr, STAGES: gl.constexpr,
    BLOCK_TOKENS: gl.constexpr, DIM: gl.constexpr,
):  # fmt: skip
    """Softmax(q k) v for ROWS rows: one warp group."""
    queries, keys, values, key_full, key_empty, value_full, value_empty = shared
    block, blocks, masked_blocks, q_low, q_len, kv_len, kv_head, heads = bounds
    q_row, q_head = strides
    logits_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_TOKENS, 16])
    result_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, DIM, 16])
    weights_layout: gl.constexpr = gl.DotOperandLayout(0, result_layout, 2)
    memory: gl.constexpr = gl.BlockedLayout([1, 8], [256 // DIM, DIM // 8], [4, 1], [1, 0])
    query = queries.index(part)
    first_row = block * (2 * ROWS) + part * ROWS
    row = first_row + gl.arange(0, ROWS, gl.SliceLayout(1, memory))
    token, head = row // GROUP, kv_head * GROUP + row % GROUP
    place = (q_low + token).to(gl.int64)
    dim = gl.arange(0, DIM, gl.SliceLayout(0, memory))
    within = (token < q_len)[:, None] & (dim < DIM)[None, :]
    places = q + (place * q_row + head * q_head)[:, None] + dim[None, :]
    query.store(gl.load(places, mask=within, other=0.0))
    fence_async_shared()
    line = first_row + gl.arange(0, ROWS, gl.SliceLayout(1, logits_layout))
    reach = line // GROUP + kv_len - q_len
    maximum = gl.full([ROWS], float("-inf"), gl.float32, gl.SliceLayout(1, logits_layout))
    total = gl.zeros([ROWS], gl.float32, gl.SliceLayout(1, logits_layout))
    result = gl.zeros([ROWS, DIM], gl.float32, result_layout)
    logits = gl.zeros([ROWS, BLOCK_TOKENS], gl.float32, logits_layout)
    mbarrier.wait(key_full.index(0), 0)
    if COPY:
        fence_async_shared()
    logits = warpgroup_mma(
        query, keys.index(0).permute((1, 0)), logits, use_acc=False, is_async=True
    )
    logits = warpgroup_mma_wait(0, [logits])
    mbarrier.arrive(key_empty.index(0), count=1)
    start = (blocks - 1) * BLOCK_TOKENS
    weights, maximum, total, fade = softmax(
        logits, maximum, total, start, reach, kv_len, scale, True, NEGATIVE, BLOCK_TOKENS,
        logits_layout,
    )  # fmt: skip
    weights = gl.convert_layout(weights.to(query.dtype), weights_layout)
    if not COPY:  # cp.async has put zeros there
        if start + BLOCK_TOKENS > kv_len:
            mbarrier.wait(value_full.index(0), 0)
            without_strangers(values.index(0), start, kv_len, BLOCK_TOKENS, DIM)
    state = (weights, maximum, total, result)
    state = steps(
        1, masked_blocks, state, query, keys, values, key_full, key_empty, value_full, value_empty,
        blocks, reach, kv_len, scale, True, NEGATIVE, COPY, STAGES, BLOCK_TOKENS, DIM,
    )  # fmt: skip
    state = steps(
        masked_blocks, blocks, state, query, keys, values, key_full, key_empty, value_full,
        value_empty, blocks, reach, kv_len, scale, False, NEGATIVE, COPY, STAGES, BLOCK_TOKENS,
        DIM,
    )  # fmt: skip
    weights, maximum, total, result = state
    mbarrier.wait(value_full.index((blocks - 1) % STAGES), ((blocks - 1) // STAGES) & 1)
    if COPY:
        fence_async_shared()
    result = warpgroup_mma(weights, values.index((blocks - 1) % STAGES), result, is_async=True)
    result = warpgroup_mma_wait(0, [result])
    divisor = gl.where(total > 0, total, 1.0)  # a row without keys: 0 and -inf
    shown = (q_low + line // GROUP).to(gl.int64) * heads + kv_head * GROUP + line % GROUP
    gl.store(lse + shown, maximum + gl.log2(divisor), mask=line // GROUP < q_len)
    result = result / gl.convert_layout(divisor, gl.SliceLayout(1, result_layout))[:, None]
    query.store(result.to(query.dtype))  # where the queries were: each thread then has 16 bytes
    place = place * heads + head
    gl.store(output + place[:, None] * DIM + dim[None, :], query.load(memory), mask=within)


@gluon.jit
def pages_of(kv_indices, first_index, position, kv_len, PAGE_SIZE: gl.constexpr):
    """Pages of these positions; 0 where there is no key."""
    if PAGE_SIZE == 0:
        return first_index + position
    else:
        inside = (position < kv_len) & (position >= 0)
        return gl.load(kv_indices + first_index + position // PAGE_SIZE, mask=inside, other=0)


@gluon.jit
def fetch(tiles, head, page, first, full, memory, BYTES: gl.constexpr, PAGE_SIZE: gl.constexpr):
    """A tile through its descriptor; `full` counts its bytes."""
    mbarrier.expect(full, BYTES)
    if PAGE_SIZE == 0:
        tma.async_copy_global_to_shared(tiles, [head, first, 0], full, memory)
    else:
        tma.async_copy_global_to_shared(tiles, [head, page, first, 0], full, memory)


@gluon.jit
def load_tiles(
    shared, k, v, kv_indices, bounds,
    PAGE_SIZE: gl.constexpr, STAGES: gl.constexpr, BLOCK_TOKENS: gl.constexpr, DIM: gl.constexpr,
):  # fmt: skip
    """Blocks of keys and values through tensor descriptors, from the last one on: one warp."""
    _, keys, values, key_full, key_empty, value_full, value_empty = shared
    blocks, first_index, kv_len, kv_head = bounds
    size: gl.constexpr = BLOCK_TOKENS * DIM * 2
    for step in range(blocks):
        stage, phase = step % STAGES, ((step // STAGES) & 1) ^ 1
        start = (blocks - 1 - step) * BLOCK_TOKENS
        page = pages_of(kv_indices, first_index, start, kv_len, PAGE_SIZE)
        first = page if PAGE_SIZE == 0 else start % PAGE_SIZE
        mbarrier.wait(key_empty.index(stage), phase)
        fetch(k, kv_head, page, first, key_full.index(stage), keys.index(stage), size, PAGE_SIZE)
        mbarrier.wait(value_empty.index(stage), phase)
        fetch(
            v, kv_head, page, first, value_full.index(stage), values.index(stage), size, PAGE_SIZE
        )


@gluon.jit
def copy_rows(
    base, page, position, kv_len, page_stride, token_stride, memory, full,
    PAGE_SIZE: gl.constexpr, DIM: gl.constexpr, LAYOUT: gl.constexpr,
):  # fmt: skip
    """Rows of keys or values by page, zeros beyond the last; `full` counts when they are there."""
    dim = gl.arange(0, DIM, gl.SliceLayout(0, LAYOUT))
    # int64: a cache of 2^21 tokens with 8 heads of 128 has 2^31 elements.
    places = page.to(gl.int64) * page_stride
    if PAGE_SIZE > 1:
        places += (position % PAGE_SIZE) * token_stride
    inside = (position < kv_len)[:, None] & (dim < DIM)[None, :]
    async_copy.async_copy_global_to_shared(memory, base + places[:, None] + dim[None, :], inside)
    async_copy.mbarrier_arrive(full, increment_count=False)


@gluon.jit
def load_rows(
    shared, k, v, kv_indices, bounds, strides,
    PAGE_SIZE: gl.constexpr, STAGES: gl.constexpr, BLOCK_TOKENS: gl.constexpr, DIM: gl.constexpr,
):  # fmt: skip
    """The same by cp.async of single rows, page numbers a block ahead: four warps."""
    _, keys, values, key_full, key_empty, value_full, value_empty = shared
    blocks, first_index, kv_len, kv_head = bounds
    k_page, k_token, v_page, v_token = strides
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // DIM, DIM // 8], [4, 1], [1, 0])
    position = (blocks - 1) * BLOCK_TOKENS + gl.arange(0, BLOCK_TOKENS, gl.SliceLayout(1, layout))
    page = pages_of(kv_indices, first_index, position, kv_len, PAGE_SIZE)
    for step in range(blocks):
        stage, phase = step % STAGES, ((step // STAGES) & 1) ^ 1
        after = pages_of(kv_indices, first_index, position - BLOCK_TOKENS, kv_len, PAGE_SIZE)
        mbarrier.wait(key_empty.index(stage), phase)
        copy_rows(
            k, page, position, kv_len, k_page, k_token, keys.index(stage), key_full.index(stage),
            PAGE_SIZE, DIM, layout,
        )  # fmt: skip
        mbarrier.wait(value_empty.index(stage), phase)
        copy_rows(
            v, page, position, kv_len, v_page, v_token, values.index(stage),
            value_full.index(stage), PAGE_SIZE, DIM, layout,
        )  # fmt: skip
        page, position = after, position - BLOCK_TOKENS
    async_copy.wait_group(0)


@gluon.jit(do_not_specialize=["requests"])
def prefill_kernel_sm90(
    q, k, v, qo_indptr, kv_indptr, kv_indices, last_page_len, output, lse, scale, requests,
    q_row, q_head, k_page, k_token, k_head, v_page, v_token, v_head,
    PAGE_SIZE: gl.constexpr, GROUP: gl.constexpr, DIM: gl.constexpr, BLOCK_TOKENS: gl.constexpr,
    STAGES: gl.constexpr, BLOCK_REQUESTS: gl.constexpr, NEGATIVE: gl.constexpr,
    COPY: gl.constexpr, REGISTERS: gl.constexpr, LOADING_REGISTERS: gl.constexpr,
    TYPE: gl.constexpr,
):  # fmt: skip
    """Softmax(q k) v for 2 * ROWS rows (token, head of the group) of one request; k and v are
    tensor descriptors, or pointers where COPY."""
    kv_head, heads = gl.program_id(1), gl.num_programs(1) * GROUP
    request, rank = place_of(qo_indptr, requests, gl.program_id(0), GROUP, BLOCK_REQUESTS)
    if request >= 0:
        q_low = gl.load(qo_indptr + request)
        q_len = gl.load(qo_indptr + request + 1) - q_low
        first_index = gl.load(kv_indptr + request)
        kv_len = gl.load(kv_indptr + request + 1) - first_index
        if PAGE_SIZE > 1:
            if kv_len > 0:
                kv_len = (kv_len - 1) * PAGE_SIZE + gl.load(last_page_len + request)
        block = (q_len * GROUP + 2 * ROWS - 1) // (2 * ROWS) - 1 - rank
        seen_by_all = block * (2 * ROWS) // GROUP + kv_len - q_len + 1
        open_blocks = gl.maximum(gl.minimum(seen_by_all, kv_len), 0) // BLOCK_TOKENS
        last = gl.minimum((block * (2 * ROWS) + 2 * ROWS - 1) // GROUP, q_len - 1)
        end = gl.minimum(last + kv_len - q_len + 1, kv_len)
        # At least one block, masked: the loops begin with a block at hand.
        blocks = gl.maximum((gl.maximum(end, 0) + BLOCK_TOKENS - 1) // BLOCK_TOKENS, 1)
        masked_blocks = gl.maximum(blocks - open_blocks, 1)
        tile: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
        queries = gl.allocate_shared_memory(TYPE, [2, ROWS, DIM], tile)
        keys = gl.allocate_shared_memory(TYPE, [STAGES, BLOCK_TOKENS, DIM], tile)
        values = gl.allocate_shared_memory(TYPE, [STAGES, BLOCK_TOKENS, DIM], tile)
        flags: gl.constexpr = mbarrier.MBarrierLayout()
        key_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], flags)
        key_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], flags)
        value_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], flags)
        value_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], flags)
        arrivals: gl.constexpr = LOADING_THREADS if COPY else 1
        for stage in gl.static_range(STAGES):
            mbarrier.init(key_full.index(stage), count=arrivals)
            mbarrier.init(key_empty.index(stage), count=2)
            mbarrier.init(value_full.index(stage), count=arrivals)
            mbarrier.init(value_empty.index(stage), count=2)
        shared = (queries, keys, values, key_full, key_empty, value_full, value_empty)
        bounds = (block, blocks, masked_blocks, q_low, q_len, kv_len, kv_head, heads)
        to_load = (blocks, first_index, kv_len, kv_head)
        q_strides = (q_row, q_head)
        strides = (k_page, k_token, v_page, v_token)
        if COPY:
            k_base, v_base = k + kv_head * k_head, v + kv_head * v_head
            gl.warp_specialize(
                [
                    (multiply, (0, shared, q, output, lse, scale, bounds, q_strides, GROUP,
                                NEGATIVE, COPY, STAGES, BLOCK_TOKENS, DIM)),
                    (multiply, (1, shared, q, output, lse, scale, bounds, q_strides, GROUP,
                                NEGATIVE, COPY, STAGES, BLOCK_TOKENS, DIM)),
                    (load_rows, (shared, k_base, v_base, kv_indices, to_load, strides,
                                 PAGE_SIZE, STAGES, BLOCK_TOKENS, DIM)),
                ],
                [4, 4], [REGISTERS, LOADING_REGISTERS],
            )  # fmt: skip
        else:
            gl.warp_specialize(
                [
                    (multiply, (0, shared, q, output, lse, scale, bounds, q_strides, GROUP,
                                NEGATIVE, COPY, STAGES, BLOCK_TOKENS, DIM)),
                    (multiply, (1, shared, q, output, lse, scale, bounds, q_strides, GROUP,
                                NEGATIVE, COPY, STAGES, BLOCK_TOKENS, DIM)),
                    (load_tiles, (shared, k, v, kv_indices, to_load, PAGE_SIZE, STAGES,
                                  BLOCK_TOKENS, DIM)),
                ],
                [4, 1], [REGISTERS, LOADING_REGISTERS],
            )  # fmt: skip


BLOCK_ROWS = 2 * ROWS.value
DIMS = (64, 128)
TYPES = {torch.bfloat16: gl.bfloat16, torch.float16: gl.float16}
TILES, COPIES = (240, 24), (216, 72)  # registers of a thread that multiplies, that loads


def serves(q: torch.Tensor, k: torch.Tensor, block_tokens: int) -> bool:
    """Whether the kernel is written for these tensors and this device."""
    hopper = q.is_cuda and torch.cuda.get_device_capability(q.device)[0] == 9
    plain = q.dtype in TYPES and q.dtype == k.dtype and q.shape[-1] in DIMS
    return hopper and plain and block_tokens >= DIMS[0] and k.numel() > 0


def tiles_of(x: torch.Tensor, block_tokens: int) -> TensorDescriptor:
    """A descriptor of [..., tokens, heads, d], heads first: a box is one head's block of tokens."""
    heads_first = x.movedim(-2, 0)
    box = [*[1] * (x.dim() - 2), block_tokens, x.shape[-1]]
    layout = gl.NVMMASharedLayout(128, 16, rank=x.dim())
    return TensorDescriptor(x, list(heads_first.shape), list(heads_first.stride()), box, layout)


def launch(
    blocks: int, tensors: tuple, scale: float, requests: int, strides: tuple, page_size: int,
    *, tma: bool, block_tokens: int, stages: int, block_requests: int,
) -> None:  # fmt: skip
    """Start the kernel; tensors are its pointers in its order, tma whether tiles can be had."""
    q, k, v = tensors[:3]
    tiles = [tiles_of(x, block_tokens) if tma else x for x in (k, v)]
    kv_heads, (heads, dim) = k.shape[-2], q.shape[-2:]
    prefill_kernel_sm90[(blocks, kv_heads)](
        q, *tiles, *tensors[3:], abs(scale), requests, *strides,
        page_size, heads // kv_heads, dim, block_tokens, stages, block_requests, scale < 0,
        not tma, *(TILES if tma else COPIES), TYPES[q.dtype], num_warps=4,
    )  # fmt: skip
