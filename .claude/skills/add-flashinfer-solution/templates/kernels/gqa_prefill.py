"""Causal prefill of grouped-query attention in Triton, over a paged cache or ragged keys: no plan.

A row is a query token and one of the query heads that share a KV head: BLOCK_ROWS rows are few
tokens and all of the group, so a key serves the whole group and the causal corner is small. How
many blocks a request has follows from qo_indptr on the device; the host knows an upper bound from
shapes, and programs beyond the last block end at once. Blocks are taken from the end: those with
the most keys come first, the short ones fill the rest of the last wave.

Keys before the corner need no mask. ONE_LOOP: one loop over all keys, which masks in its last
blocks; else a loop before the corner and one in it, and the second begins with nothing loaded.
TMA: tiles of whole blocks come through tensor descriptors, where strides and pages allow it; the
last keys of a request, which no block fills, never do: what follows them belongs to others.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import math

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

try:  # now: whoever loads a solution may have taken its package off sys.path by the first call
    from . import gqa_prefill_sm90 as hopper
except ImportError:  # this Triton has no Gluon that knows Hopper
    hopper = None

LOG2_E = 1.0 / math.log(2.0)
TMA_ALIGNMENT = 16  # bytes: a descriptor's base and strides
MOST_TMA_DIM = 256  # elements of a box along a dimension


@triton.jit
def block_of(
    qo_indptr, requests, program,
    GROUP: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
):  # fmt: skip
    """The program's request, from the last one on, and its place among the blocks of that request;
    -1 for the request: none."""
    passed_requests, before, passed = 0, 0, 0
    for start in range(0, requests, BLOCK_REQUESTS):
        place = start + tl.arange(0, BLOCK_REQUESTS)
        real = place < requests
        bounds = qo_indptr + (requests - 1 - place)
        rows = tl.load(bounds + 1, mask=real, other=0) - tl.load(bounds, mask=real, other=0)
        count = tl.cdiv(rows * GROUP, BLOCK_ROWS)
        ends = passed + tl.cumsum(count, axis=0)
        below = (ends <= program) & real
        passed_requests += tl.sum(below.to(tl.int32), axis=0)
        before = tl.maximum(before, tl.max(tl.where(below, ends, 0), axis=0))
        passed += tl.sum(count, axis=0)
    return requests - 1 - passed_requests, program - before


@triton.jit
def page_at(kv_indices, first_index, position, kv_len, PAGE_SIZE: tl.constexpr):
    """Pages of these positions; 0 where there is no key."""
    if PAGE_SIZE == 0:
        return position
    else:
        place = kv_indices + first_index + position // PAGE_SIZE
        return tl.load(place, mask=position < kv_len, other=0)


@triton.jit
def tile(
    base, tiles, page, first_index, start, high, head, page_stride, token_stride,
    PAGE_SIZE: tl.constexpr, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr, LOADS: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Keys or values from position `start` on: a tile's, or those below `high`, or all of them."""
    if LOADS == "tma":
        if PAGE_SIZE == 0:
            found = tiles.load([head, first_index + start, 0])
        else:
            found = tiles.load([head, page, start % PAGE_SIZE, 0])
        return found.reshape([BLOCK_TOKENS, BLOCK_DIM]).to(FACTOR)
    dim = tl.arange(0, BLOCK_DIM)
    position = start + tl.arange(0, BLOCK_TOKENS)
    # int64: a cache of 2^21 tokens with 8 heads of 128 has 2^31 elements.
    if PAGE_SIZE == 0:
        places = (first_index + position).to(tl.int64) * page_stride
    elif PAGE_SIZE == 1:
        places = page.to(tl.int64) * page_stride
    else:
        places = page.to(tl.int64) * page_stride + (position % PAGE_SIZE) * token_stride
    places = base + places[:, None] + dim[None, :]
    # Zeros, not whatever stands there: 0 * NaN is NaN in the product with v.
    if LOADS == "bounded":
        inside = (position < high)[:, None] & (dim < DIM)[None, :]
        return tl.load(places, mask=inside, other=0.0).to(FACTOR)
    elif BLOCK_DIM != DIM:
        return tl.load(places, mask=(dim < DIM)[None, :], other=0.0).to(FACTOR)
    else:
        return tl.load(places).to(FACTOR)


@triton.jit
def masked(logits, start, open_end, high, reach, BLOCK_TOKENS: tl.constexpr, MASK: tl.constexpr):
    """Logits with -inf where a row may not see the key; from open_end on, or in every block."""
    position = start + tl.arange(0, BLOCK_TOKENS)
    if MASK == "always":
        seen = (position < high)[None, :] & (position[None, :] <= reach[:, None])
        logits = tl.where(seen, logits, float("-inf"))
    elif MASK == "corner":
        if start >= open_end:
            seen = (position < high)[None, :] & (position[None, :] <= reach[:, None])
            logits = tl.where(seen, logits, float("-inf"))
    return logits


@triton.jit
def attend_keys(
    query, total, maximum, result, k, v, k_tiles, v_tiles, kv_indices, first_index, head,
    low, high, open_end, kv_len, reach, scale, k_page, k_token, v_page, v_token,
    PAGE_SIZE: tl.constexpr, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr, LOADS: tl.constexpr, MASK: tl.constexpr,
    NEGATIVE: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Keys low..high of a request: what rows see so far, brought up to them. `reach` is the last
    key that a row may see."""
    # Page numbers are loaded a block ahead: loads that hang on a load of their own block would not
    # be on their way while the block before is worked on.
    span = tl.arange(0, BLOCK_TOKENS)
    ahead = low if LOADS == "tma" else low + span
    page = page_at(kv_indices, first_index, ahead, kv_len, PAGE_SIZE)
    for start in range(low, high, BLOCK_TOKENS):
        keys = tile(
            k, k_tiles, page, first_index, start, high, head, k_page, k_token,
            PAGE_SIZE, DIM, BLOCK_DIM, BLOCK_TOKENS, LOADS, FACTOR,
        )  # fmt: skip
        values = tile(
            v, v_tiles, page, first_index, start, high, head, v_page, v_token,
            PAGE_SIZE, DIM, BLOCK_DIM, BLOCK_TOKENS, LOADS, FACTOR,
        )  # fmt: skip
        ahead = start + BLOCK_TOKENS if LOADS == "tma" else start + BLOCK_TOKENS + span
        page = page_at(kv_indices, first_index, ahead, kv_len, PAGE_SIZE)
        logits = tl.dot(query, tl.trans(keys))
        if NEGATIVE:  # the highest is the highest only if scale > 0
            logits = -logits
        logits = masked(logits, start, open_end, high, reach, BLOCK_TOKENS, MASK)
        highest = tl.maximum(maximum, tl.max(logits, axis=1) * scale)
        # Rows that see nothing yet: relative to 0, not to -inf.
        steady = highest if MASK == "never" else tl.where(highest == float("-inf"), 0.0, highest)
        weights = tl.exp2(logits * scale - steady[:, None])
        fade = tl.exp2(maximum - steady)
        total = total * fade + tl.sum(weights, axis=1)
        result = tl.dot(weights.to(FACTOR), values, result * fade[:, None])
        maximum = highest
    return total, maximum, result


@triton.jit(do_not_specialize=["requests"])
def prefill_kernel(
    q, k, v, k_tiles, v_tiles, qo_indptr, kv_indptr, kv_indices, last_page_len, output, lse, scale,
    requests, q_row, q_head, k_page, k_token, k_head, v_page, v_token, v_head,
    PAGE_SIZE: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
    NEGATIVE: tl.constexpr, TMA: tl.constexpr, ONE_LOOP: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """Softmax(q k) v for BLOCK_ROWS rows (token, head of the group) of one request."""
    kv_head, heads = tl.program_id(1), tl.num_programs(1) * GROUP
    request, rank = block_of(
        qo_indptr, requests, tl.program_id(0), GROUP, BLOCK_ROWS, BLOCK_REQUESTS
    )
    if request >= 0:
        q_low = tl.load(qo_indptr + request)
        q_len = tl.load(qo_indptr + request + 1) - q_low
        first_index = tl.load(kv_indptr + request)
        kv_len = tl.load(kv_indptr + request + 1) - first_index
        if PAGE_SIZE > 1:
            if kv_len > 0:
                kv_len = (kv_len - 1) * PAGE_SIZE + tl.load(last_page_len + request)
        block = tl.cdiv(q_len * GROUP, BLOCK_ROWS) - 1 - rank
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        token, head = row // GROUP, kv_head * GROUP + row % GROUP
        dim = tl.arange(0, BLOCK_DIM)
        real = token < q_len
        within = real[:, None] & (dim < DIM)[None, :]
        place = (q_low + token).to(tl.int64)
        # Nothing is done to it here: it stays in shared memory, where the products read it.
        query = tl.load(
            q + (place * q_row + head * q_head)[:, None] + dim[None, :], mask=within, other=0.0
        ).to(FACTOR)
        total = tl.zeros([BLOCK_ROWS], tl.float32)
        maximum = tl.full([BLOCK_ROWS], float("-inf"), tl.float32)
        result = tl.zeros([BLOCK_ROWS, BLOCK_DIM], tl.float32)
        reach = token + kv_len - q_len
        seen_by_all = block * BLOCK_ROWS // GROUP + kv_len - q_len + 1
        open_end = tl.maximum(tl.minimum(seen_by_all, kv_len), 0) // BLOCK_TOKENS * BLOCK_TOKENS
        last = tl.minimum((block * BLOCK_ROWS + BLOCK_ROWS - 1) // GROUP, q_len - 1)
        end = tl.maximum(tl.minimum(last + kv_len - q_len + 1, kv_len), 0)
        k += kv_head * k_head
        v += kv_head * v_head
        done = 0
        if not ONE_LOOP:
            total, maximum, result = attend_keys(
                query, total, maximum, result, k, v, k_tiles, v_tiles, kv_indices, first_index,
                kv_head, 0, open_end, open_end, kv_len, reach, scale, k_page, k_token, v_page,
                v_token, PAGE_SIZE, DIM, BLOCK_DIM, BLOCK_TOKENS, "tma" if TMA else "all",
                "never", NEGATIVE, FACTOR,
            )  # fmt: skip
            done = open_end
        if TMA:
            filled = tl.cdiv(tl.minimum(end, kv_len // BLOCK_TOKENS * BLOCK_TOKENS), BLOCK_TOKENS)
            filled *= BLOCK_TOKENS
            total, maximum, result = attend_keys(
                query, total, maximum, result, k, v, k_tiles, v_tiles, kv_indices, first_index,
                kv_head, done, filled, open_end, kv_len, reach, scale, k_page, k_token, v_page,
                v_token, PAGE_SIZE, DIM, BLOCK_DIM, BLOCK_TOKENS, "tma",
                "corner" if ONE_LOOP else "always", NEGATIVE, FACTOR,
            )  # fmt: skip
            done = filled
        total, maximum, result = attend_keys(
            query, total, maximum, result, k, v, k_tiles, v_tiles, kv_indices, first_index,
            kv_head, done, end, open_end, kv_len, reach, scale, k_page, k_token, v_page, v_token,
            PAGE_SIZE, DIM, BLOCK_DIM, BLOCK_TOKENS, "bounded",
            "corner" if ONE_LOOP and not TMA else "always", NEGATIVE, FACTOR,
        )  # fmt: skip
        divisor = tl.where(total > 0, total, 1.0)  # a row without keys: 0 and -inf
        place = place * heads + head
        tl.store(
            output + place[:, None] * DIM + dim[None, :],
            (result / divisor[:, None]).to(output.dtype.element_ty), mask=within,
        )  # fmt: skip
        tl.store(lse + place, maximum + tl.log2(divisor), mask=real)


def fits_tma(x: torch.Tensor, block_dim: int) -> bool:
    """Whether tensor descriptors can read it (Triton's interpreter has them on a CPU)."""
    if x.is_cuda and torch.cuda.get_device_capability(x.device)[0] < 9:
        return False
    strides = [stride * x.element_size() for stride in x.stride()[:-1]]
    aligned = not any(n % TMA_ALIGNMENT for n in (x.data_ptr(), *strides))
    return aligned and min(strides) > 0 and x.numel() > 0 and block_dim <= MOST_TMA_DIM


def tiles_of(x: torch.Tensor, block_tokens: int, block_dim: int) -> TensorDescriptor:
    """A descriptor of [..., tokens, heads, d], heads first: a box is one head's block of tokens."""
    heads_first = x.movedim(-2, 0)
    box = [*[1] * (x.dim() - 2), block_tokens, block_dim]
    return TensorDescriptor(x, list(heads_first.shape), list(heads_first.stride()), box)


def factor_of(q: torch.Tensor) -> tl.dtype:
    """The type of the products' factors."""
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    return getattr(tl, str(q.dtype).removeprefix("torch.")) if q.is_cuda else tl.float32


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
    SPECIALIZED: bool,
    BLOCK_ROWS: int,
    BLOCK_TOKENS: int,
    TMA: bool,
    ONE_LOOP: bool,
    num_warps: int,
    num_stages: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention, bottom-right: query i sees keys up to i + keys - queries of its request.

    q [tokens, heads, d], each token of a request. With kv_indices, k and v are caches [pages, page
    size, kv heads, d] (and last_page_len [requests] is needed above page size 1); without, they are
    ragged [keys, kv heads, d]. Any strides but the last. Returns output like q and the base-2
    log-sum-exp [tokens, heads] in float32; 0 and -inf where there is no key. TMA where strides and
    pages (of whole blocks) allow it; SPECIALIZED: the kernel for Hopper, where it serves. Raises
    ValueError where a last dimension is not contiguous.
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
    strides = [q.stride(0), q.stride(1)]
    for x in (k, v):
        strides += [x.stride(0), x.stride(1) if paged else 0, x.stride(-2)]
    tma = TMA and page_size % BLOCK_TOKENS == 0 and all(fits_tma(x, block_dim) for x in (k, v))
    kv_indices = kv_indices if paged else kv_indptr  # not read
    last_page_len = kv_indptr if last_page_len is None else last_page_len  # not read
    scale, block_requests = float(sm_scale) * LOG2_E, 32 if requests <= 32 else 256
    tables = (qo_indptr, kv_indptr, kv_indices, last_page_len, output, lse)
    special = hopper if SPECIALIZED else None
    with torch.cuda.device_of(q):  # Triton launches on the current device
        if special is not None and special.serves(q, k, BLOCK_TOKENS):
            blocks = tokens * group // special.BLOCK_ROWS + requests
            special.launch(
                blocks, (q, k, v, *tables), scale, requests, strides, page_size, tma=tma,
                block_tokens=BLOCK_TOKENS, stages=num_stages, block_requests=block_requests,
            )  # fmt: skip
            return output, lse
        blocks = tokens * group // BLOCK_ROWS + requests
        tiles = [tiles_of(x, BLOCK_TOKENS, block_dim) if tma else None for x in (k, v)]
        prefill_kernel[(blocks, kv_heads)](
            q, k, v, *tiles, *tables, abs(scale), requests, *strides,
            page_size, group, dim, block_dim, BLOCK_ROWS, BLOCK_TOKENS, block_requests,
            scale < 0, tma, bool(ONE_LOOP), factor_of(q),
            num_warps=num_warps, num_stages=num_stages,
        )  # fmt: skip
    return output, lse
