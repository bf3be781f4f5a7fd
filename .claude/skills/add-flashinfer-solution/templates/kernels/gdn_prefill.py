"""The gated delta rule over ragged sequences, in Triton: chunks of tokens, two launches.

With b_t the sum of the log decays of a chunk up to its token t, S the state before the chunk, and
u_t = beta_t (v_t - decay_t S_(t-1) k_t) what token t adds along its key, S_t = e^(b_t) S +
sum over s <= t of e^(b_t - b_s) u_s k_s^T. So u solves a triangular system (Yang et al., Gated
Delta Networks, section 3.3), (I + A) u = beta (v - e^(b_t) S k_t) with A_ts = beta_t e^(b_t - b_s)
k_t.k_s for s < t. The first launch inverts I + A and takes the products of queries and keys, for
all chunks at once; the second walks through a sequence's chunks with some rows of its state in
registers. Only products with S, u and v are on that way.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .softplus import softplus

LEVELS = tl.constexpr(6)
CHUNK = 2**6  # tokens: 2**LEVELS


@triton.jit
def sequence_of(cu_seqlens, sequences, slot, CHUNK: tl.constexpr):
    """The sequence whose chunks hold the slot. Those of sequence n begin at cu_seqlens[n] // CHUNK
    + n: they never meet, and where one begins nobody must count the chunks before it."""
    low, high = 0, sequences
    while high - low > 1:
        middle = (low + high) // 2
        begins = (tl.load(cu_seqlens + middle) // CHUNK + middle) <= slot
        low = tl.where(begins, middle, low)
        high = tl.where(begins, high, middle)
    return low


@triton.jit
def inverse(lower, CHUNK: tl.constexpr):
    """(I + lower)^-1 for a strictly lower triangular matrix: the inverses of blocks of 2, 4, 8, ...
    rows, each from those of half the size. No power of `lower` is taken: they grow with repeated
    keys as binomial coefficients do."""
    row = tl.arange(0, CHUNK)[:, None]
    column = tl.arange(0, CHUNK)[None, :]
    found = tl.where(row == column, 1.0, 0.0)
    found -= tl.where((row // 2 == column // 2) & (row > column), lower, 0.0)
    for level in tl.static_range(1, LEVELS):  # blocks of 2**level rows are done
        corner = (row >> level + 1 == column >> level + 1) & (row >> level > column >> level)
        between = tl.dot(tl.where(corner, lower, 0.0), found, input_precision="tf32")
        found -= tl.dot(found, between, input_precision="tf32")
    return found


@triton.jit(do_not_specialize=["sequences"])
def chunk_kernel(
    q_ptr, k_ptr, A_log, a_ptr, dt_bias, b_ptr, cu_seqlens, solved, products, decays, scale,
    sequences,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM_K: tl.constexpr, BLOCK_K: tl.constexpr,
    CHUNK: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """One chunk and value head: (I + A)^-1 beta, e^(b_t - b_s) q_t.k_s scale for s <= t, and b."""
    slot, head = (tl.program_id(0) // HEADS).to(tl.int64), tl.program_id(0) % HEADS
    sequence = sequence_of(cu_seqlens, sequences, slot, CHUNK)
    begin, end = tl.load(cu_seqlens + sequence), tl.load(cu_seqlens + sequence + 1)
    token = begin + (slot - begin // CHUNK - sequence) * CHUNK + tl.arange(0, CHUNK)
    inside = token < end
    gates = token * HEADS + head
    rate = tl.exp(tl.load(A_log + head).to(tl.float32))
    bias = tl.load(dt_bias + head).to(tl.float32)
    a = tl.load(a_ptr + gates, mask=inside, other=0.0)
    beta = tl.load(b_ptr + gates, mask=inside, other=0.0).to(tl.float32)
    beta = tl.where(inside, 1.0 / (1.0 + tl.exp(-beta)), 0.0)
    decay = tl.cumsum(tl.where(inside, -rate * softplus(a.to(tl.float32) + bias), 0.0), axis=0)
    j = tl.arange(0, BLOCK_K)
    place = (token * (HEADS // GROUP) + head // GROUP)[:, None] * DIM_K + j[None, :]
    real = inside[:, None] & (j < DIM_K)[None, :]
    keys = tl.load(k_ptr + place, mask=real, other=0.0).to(FACTOR)
    queries = tl.load(q_ptr + place, mask=real, other=0.0).to(FACTOR)
    t = tl.arange(0, CHUNK)[:, None]
    s = tl.arange(0, CHUNK)[None, :]
    fading = tl.exp(tl.where(t >= s, decay[:, None] - decay[None, :], 0.0))
    alike = tl.dot(keys, tl.trans(keys), input_precision="ieee")
    found = inverse(tl.where(t > s, beta[:, None] * fading * alike, 0.0), CHUNK) * beta[None, :]
    seen = tl.dot(queries, tl.trans(keys), input_precision="ieee")
    seen = tl.where(t >= s, seen * fading * scale, 0.0)
    own = (slot * HEADS + head) * CHUNK
    tl.store(solved + own * CHUNK + t * CHUNK + s, found.to(solved.dtype.element_ty))
    tl.store(products + own * CHUNK + t * CHUNK + s, seen.to(products.dtype.element_ty))
    tl.store(decays + own + tl.arange(0, CHUNK), decay)


@triton.jit
def walk_kernel(
    q_ptr, k_ptr, v_ptr, state_ptr, cu_seqlens, solved, products, decays, output, new_state, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM_K: tl.constexpr, DIM_V: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, CHUNK: tl.constexpr, FACTOR: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """BLOCK_V rows of one state through all chunks of its sequence."""
    parts: tl.constexpr = (DIM_V + BLOCK_V - 1) // BLOCK_V
    # One axis: a grid's others end at 65,535.
    rows, head = tl.program_id(0) % parts, tl.program_id(0) // parts % HEADS
    sequence = (tl.program_id(0) // (parts * HEADS)).to(tl.int64)
    i = rows * BLOCK_V + tl.arange(0, BLOCK_V)
    j = tl.arange(0, BLOCK_K)
    c = tl.arange(0, CHUNK)
    held = ((sequence * HEADS + head) * DIM_V + i[None, :]) * DIM_K + j[:, None]
    whole = (i < DIM_V)[None, :] & (j < DIM_K)[:, None]
    if state_ptr is None:
        state = tl.zeros([BLOCK_K, BLOCK_V], tl.float32)
    else:
        state = tl.load(state_ptr + held, mask=whole, other=0.0).to(tl.float32)
    begin, end = tl.load(cu_seqlens + sequence), tl.load(cu_seqlens + sequence + 1)
    own = ((begin // CHUNK + sequence) * HEADS + head) * CHUNK
    for chunk in tl.range(0, tl.cdiv(end - begin, CHUNK), num_stages=STAGES):
        token = begin + chunk * CHUNK + c
        inside = token < end
        vector = (token * (HEADS // GROUP) + head // GROUP)[:, None] * DIM_K + j[None, :]
        real = inside[:, None] & (j < DIM_K)[None, :]
        value = (token * HEADS + head)[:, None] * DIM_V + i[None, :]
        valued = inside[:, None] & (i < DIM_V)[None, :]
        tables = own * CHUNK + c[:, None] * CHUNK + c[None, :]
        keys = tl.load(k_ptr + vector, mask=real, other=0.0).to(FACTOR)
        values = tl.load(v_ptr + value, mask=valued, other=0.0).to(tl.float32)
        decay = tl.load(decays + own + c)
        last = tl.load(decays + own + CHUNK - 1)
        before = tl.exp(decay)
        factor = state.to(FACTOR)
        delta = values - before[:, None] * tl.dot(keys, factor, input_precision="ieee")
        system = tl.load(solved + tables)
        added = tl.dot(system, delta.to(FACTOR), input_precision="ieee")
        queries = tl.load(q_ptr + vector, mask=real, other=0.0).to(FACTOR)
        result = tl.dot(queries, factor, input_precision="ieee") * (before * scale)[:, None]
        seen = tl.load(products + tables)
        result = tl.dot(seen, added.to(FACTOR), result, input_precision="ieee")
        tl.store(output + value, result.to(output.dtype.element_ty), mask=valued)
        fading = (added * tl.exp(last - decay)[:, None]).to(FACTOR)
        state = tl.dot(tl.trans(keys), fading, state * tl.exp(last), input_precision="ieee")
        own += HEADS * CHUNK
    tl.store(new_state + held, state, mask=whole)


def gdn_prefill(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor | None,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
    cu_seqlens: torch.Tensor,
    scale: float,
    *,
    BLOCK_V: int,
    STAGES: int,
    num_warps: int,
    chunk_warps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [tokens, qk heads, K], v [tokens, heads, V], a and b [tokens, heads], state [sequences,
    heads, V, K] or None (zeros), cu_seqlens [sequences + 1]. Returns output [tokens, heads, V] of
    v's type and new_state in float32. An empty sequence keeps its state."""
    tokens, heads, dim_v = v.shape
    qk_heads, dim_k = q.shape[1], q.shape[2]
    sequences = cu_seqlens.shape[0] - 1
    q, k, v, a, b = (each.contiguous() for each in (q, k, v, a, b))
    state = state.contiguous() if state is not None else None
    output = torch.empty_like(v)
    new_state = v.new_empty((sequences, heads, dim_v, dim_k), dtype=torch.float32)
    if sequences == 0:  # an empty grid is an error
        return output, new_state
    # The interpreter multiplies bfloat16 as if it were integers: float32 there.
    half = q.is_cuda and q.dtype in (torch.bfloat16, torch.float16)
    kind, factor = (q.dtype, TYPES[q.dtype]) if half else (torch.float32, tl.float32)
    slots = tokens // CHUNK + sequences
    tables = q.new_empty((2, slots, heads, CHUNK, CHUNK), dtype=kind)
    decays = q.new_empty((slots, heads, CHUNK), dtype=torch.float32)
    block_k = triton.next_power_of_2(dim_k)
    with torch.cuda.device_of(q):  # Triton launches on the current device
        chunk_kernel[(slots * heads,)](
            q, k, A_log, a, dt_bias, b, cu_seqlens, tables[0], tables[1], decays, scale, sequences,
            heads, heads // qk_heads, dim_k, block_k, CHUNK, factor, num_warps=chunk_warps,
        )  # fmt: skip
        walk_kernel[(triton.cdiv(dim_v, BLOCK_V) * heads * sequences,)](
            q, k, v, state, cu_seqlens, tables[0], tables[1], decays, output, new_state, scale,
            heads, heads // qk_heads, dim_k, dim_v, block_k, BLOCK_V, CHUNK, factor, STAGES,
            num_warps=num_warps,
        )  # fmt: skip
    return output, new_state


TYPES = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
