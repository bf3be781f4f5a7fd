"""Some tokens of the gated delta rule from a pool of states, in Triton: one launch.

The pool comes back unchanged, as a copy. A program reads BLOCK_V rows of one slot's state, takes
the requests that start from this slot through their tokens, and writes the rows to the copy: each
state is read once and written once, however many requests share it.

No state after a token is asked for, only its products with the keys and queries of the request. So
the rule is run on S W, W being all of these (2 TOKENS columns in place of DIM_K):
    S W = decay (S W);  delta = beta (v - S k);  S W = S W + delta (k . W);  output = scale S q
S W is a product for the tensor cores. It is taken with S as the sum of two bfloat16 (16 bits of
the mantissa); q and k are bfloat16 already, and sums are float32.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .softplus import softplus


@triton.jit
def users(slots_ptr, requests, slot, last, BLOCK_REQUESTS: tl.constexpr):
    """The first request after `last` that starts from the slot (`requests` where there is none),
    and how many there are after `last`."""
    request = tl.arange(0, BLOCK_REQUESTS)
    named = tl.load(slots_ptr + request, mask=request < requests, other=-1)
    uses = (named == slot) & (request > last)
    return tl.min(tl.where(uses, request, requests), axis=0), tl.sum(uses.to(tl.int32), axis=0)


@triton.jit
def gates(a_ptr, b_ptr, place, rate, bias):
    """Decay and beta of one token and head."""
    gate = tl.load(a_ptr + place).to(tl.float32) + bias
    decay = tl.exp(-rate * softplus(gate))
    return decay, 1.0 / (1.0 + tl.exp(-tl.load(b_ptr + place).to(tl.float32)))


@triton.jit
def take_tokens(
    q_ptr, k_ptr, v_ptr, a_ptr, b_ptr, output, state, request, head, rate, bias, scale, i, j,
    TOKENS: tl.constexpr, HEADS: tl.constexpr, GROUP: tl.constexpr, DIM_K: tl.constexpr,
    DIM_V: tl.constexpr, VECTORS: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """The tokens of one request from rows i of a state."""
    column = tl.arange(0, VECTORS)  # keys, then queries, then zeros
    row = request.to(tl.int64) * TOKENS
    place = ((row + column % TOKENS) * (HEADS // GROUP) + head // GROUP)[:, None] * DIM_K + j
    is_key = (column < TOKENS)[:, None] & (j < DIM_K)[None, :]
    is_query = ((column >= TOKENS) & (column < 2 * TOKENS))[:, None] & (j < DIM_K)[None, :]
    keys = tl.load(k_ptr + place, mask=is_key, other=0.0)
    vectors = (keys + tl.load(q_ptr + place, mask=is_query, other=0.0)).to(FACTOR)
    products = tl.dot(vectors, tl.trans(vectors), input_precision="ieee")
    high = state.to(FACTOR)
    low = (state - high.to(tl.float32)).to(FACTOR)
    seen = tl.dot(high, tl.trans(vectors), input_precision="ieee")
    seen = tl.dot(low, tl.trans(vectors), seen, input_precision="ieee")
    for t in tl.static_range(TOKENS):
        decay, beta = gates(a_ptr, b_ptr, (row + t) * HEADS + head, rate, bias)
        value = ((row + t) * HEADS + head) * DIM_V + i
        v = tl.load(v_ptr + value, mask=i < DIM_V, other=0.0).to(tl.float32)
        seen = seen * decay
        delta = beta * (v - tl.sum(tl.where(column[None, :] == t, seen, 0.0), axis=1))
        with_key = tl.sum(tl.where(column[:, None] == t, products, 0.0), axis=0)
        seen = seen + delta[:, None] * with_key[None, :]
        result = tl.sum(tl.where(column[None, :] == TOKENS + t, seen, 0.0), axis=1) * scale
        tl.store(output + value, result.to(output.dtype.element_ty), mask=i < DIM_V)


@triton.jit(do_not_specialize=["requests", "slots"])
def mtp_kernel(
    q_ptr, k_ptr, v_ptr, state_ptr, slots_ptr, A_log, a_ptr, dt_bias, b_ptr, output, final_state,
    scale, requests, slots,
    TOKENS: tl.constexpr, HEADS: tl.constexpr, GROUP: tl.constexpr, DIM_K: tl.constexpr,
    DIM_V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, VECTORS: tl.constexpr,
    BLOCK_REQUESTS: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """BLOCK_V rows of one value head's state in one slot; zeros for one request that is padding."""
    parts: tl.constexpr = (DIM_V + BLOCK_V - 1) // BLOCK_V
    # One axis: a grid's others end at 65,535.
    rows, head = tl.program_id(0) % parts, tl.program_id(0) // parts % HEADS
    program = tl.program_id(0) // (parts * HEADS)
    i = rows * BLOCK_V + tl.arange(0, BLOCK_V)
    j = tl.arange(0, BLOCK_K)
    if program < slots:
        place = ((program.to(tl.int64) * HEADS + head) * DIM_V + i[:, None]) * DIM_K + j[None, :]
        inside = (i[:, None] < DIM_V) & (j[None, :] < DIM_K)
        first = tl.load(state_ptr + place, mask=inside, other=0.0, eviction_policy="evict_first")
        rate = tl.exp(tl.load(A_log + head).to(tl.float32))
        bias = tl.load(dt_bias + head).to(tl.float32)
        request, count = users(slots_ptr, requests, program, -1, BLOCK_REQUESTS)
        for user in range(0, count):
            take_tokens(
                q_ptr, k_ptr, v_ptr, a_ptr, b_ptr, output, first.to(tl.float32), request, head,
                rate, bias, scale, i, j, TOKENS, HEADS, GROUP, DIM_K, DIM_V, VECTORS, FACTOR,
            )  # fmt: skip
            if user + 1 < count:
                request, left = users(slots_ptr, requests, program, request, BLOCK_REQUESTS)
        tl.store(final_state + place, first, mask=inside, cache_modifier=".cs")
    if program < requests:
        if tl.load(slots_ptr + program) < 0:
            for t in range(0, TOKENS):
                row = (program.to(tl.int64) * TOKENS + t) * HEADS + head
                zeros = tl.zeros([BLOCK_V], output.dtype.element_ty)
                tl.store(output + row * DIM_V + i, zeros, mask=i < DIM_V)


def gdn_mtp(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    pool: torch.Tensor,
    slots: torch.Tensor,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
    scale: float,
    *,
    BLOCK_V: int,
    num_warps: int,
    maxnreg: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [batch, tokens, qk heads, K], v [batch, tokens, heads, V], a and b [batch, tokens,
    heads], pool [slots, heads, V, K], slots [batch] (below 0: padding). Returns output [batch,
    tokens, heads, V] of q's type, and a copy of the pool. maxnreg is the limit of registers a
    thread: the compiler takes twice what it needs, and fewer programs would fit at a time."""
    batch, tokens, heads, dim_v = v.shape
    qk_heads, dim_k = q.shape[2], q.shape[3]
    q, k, v, a, b, pool = (each.contiguous() for each in (q, k, v, a, b, pool))
    output = torch.empty((batch, tokens, heads, dim_v), dtype=q.dtype, device=q.device)
    if output.numel() == 0:  # an empty grid is an error
        return output, pool.clone()
    final_state = torch.empty_like(pool)
    programs = max(batch, pool.shape[0])
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    factor = tl.bfloat16 if q.is_cuda and q.dtype == torch.bfloat16 else tl.float32
    with torch.cuda.device_of(q):  # Triton launches on the current device
        mtp_kernel[(triton.cdiv(dim_v, BLOCK_V) * heads * programs,)](
            q, k, v, pool, slots, A_log, a, dt_bias, b, output, final_state, scale, batch,
            pool.shape[0], tokens, heads, heads // qk_heads, dim_k, dim_v,
            triton.next_power_of_2(dim_k), BLOCK_V, max(16, triton.next_power_of_2(2 * tokens)),
            triton.next_power_of_2(max(1, batch)), factor, num_warps=num_warps, num_stages=1,
            maxnreg=maxnreg,
        )  # fmt: skip
    return output, final_state
