"""Some tokens of the gated delta rule from a pool of states, in Triton: one launch.

The pool comes back unchanged, as a copy. A program reads BLOCK_V rows of one slot's state, writes
them to the copy, and takes the requests that start from this slot through their tokens with the
rows in registers: each state is read once and written once, however many requests share it.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl


@triton.jit
def user_after(slots_ptr, requests, slot, last, BLOCK_REQUESTS: tl.constexpr):
    """The first request after `last` that starts from the slot; `requests` where there is none."""
    request = tl.arange(0, BLOCK_REQUESTS)
    named = tl.load(slots_ptr + request, mask=request < requests, other=-1)
    return tl.min(tl.where((named == slot) & (request > last), request, requests), axis=0)


@triton.jit(do_not_specialize=["requests", "tokens", "slots"])
def mtp_kernel(
    q_ptr, k_ptr, v_ptr, state_ptr, slots_ptr, A_log, a_ptr, dt_bias, b_ptr, output, final_state,
    scale, requests, tokens, slots,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM_K: tl.constexpr, DIM_V: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
):  # fmt: skip
    """BLOCK_V rows of one value head's state in one slot; zeros for one request that is padding."""
    parts: tl.constexpr = (DIM_V + BLOCK_V - 1) // BLOCK_V
    # One axis: a grid's others end at 65,535.
    rows, head = tl.program_id(0) % parts, tl.program_id(0) // parts % HEADS
    program = tl.program_id(0) // (parts * HEADS)
    i = rows * BLOCK_V + tl.arange(0, BLOCK_V)
    j = tl.arange(0, BLOCK_K)
    if program < requests:
        if tl.load(slots_ptr + program) < 0:
            for t in range(0, tokens):
                row = (program.to(tl.int64) * tokens + t) * HEADS + head
                zeros = tl.zeros([BLOCK_V], output.dtype.element_ty)
                tl.store(output + row * DIM_V + i, zeros, mask=i < DIM_V)
    if program < slots:
        place = ((program.to(tl.int64) * HEADS + head) * DIM_V + i[:, None]) * DIM_K + j[None, :]
        inside = (i[:, None] < DIM_V) & (j[None, :] < DIM_K)
        first = tl.load(state_ptr + place, mask=inside, other=0.0, eviction_policy="evict_first")
        tl.store(final_state + place, first, mask=inside, cache_modifier=".cs")
        rate = tl.exp(tl.load(A_log + head).to(tl.float32))
        bias = tl.load(dt_bias + head).to(tl.float32)
        request = user_after(slots_ptr, requests, program, -1, BLOCK_REQUESTS)
        while request < requests:
            state = first.to(tl.float32)
            for t in range(0, tokens):
                row = request.to(tl.int64) * tokens + t
                key = (row * (HEADS // GROUP) + head // GROUP) * DIM_K + j
                value = (row * HEADS + head) * DIM_V + i
                q = tl.load(q_ptr + key, mask=j < DIM_K, other=0.0).to(tl.float32)
                k = tl.load(k_ptr + key, mask=j < DIM_K, other=0.0).to(tl.float32)
                v = tl.load(v_ptr + value, mask=i < DIM_V, other=0.0).to(tl.float32)
                gate = tl.load(a_ptr + row * HEADS + head).to(tl.float32) + bias
                beta = tl.load(b_ptr + row * HEADS + head).to(tl.float32)
                # log(1 + e^x) without overflow, and without loss where e^x is small.
                tail = tl.exp(-tl.abs(gate))
                logged = tl.where(tail < 1e-4, tail - 0.5 * tail * tail, tl.log(1.0 + tail))
                decay = tl.exp(-rate * (tl.maximum(gate, 0.0) + logged))
                beta = 1.0 / (1.0 + tl.exp(-beta))
                state = state * decay
                delta = beta * (v - tl.sum(state * k[None, :], axis=1))
                state = state + delta[:, None] * k[None, :]
                result = tl.sum(state * q[None, :], axis=1) * scale
                tl.store(output + value, result.to(output.dtype.element_ty), mask=i < DIM_V)
            request = user_after(slots_ptr, requests, program, request, BLOCK_REQUESTS)


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
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [batch, tokens, qk heads, K], v [batch, tokens, heads, V], a and b [batch, tokens,
    heads], pool [slots, heads, V, K], slots [batch] (below 0: padding). Returns output [batch,
    tokens, heads, V] of q's type, and a copy of the pool."""
    batch, tokens, heads, dim_v = v.shape
    qk_heads, dim_k = q.shape[2], q.shape[3]
    q, k, v, a, b, pool = (each.contiguous() for each in (q, k, v, a, b, pool))
    output = torch.empty((batch, tokens, heads, dim_v), dtype=q.dtype, device=q.device)
    final_state = torch.empty_like(pool)
    programs = max(batch, pool.shape[0])
    if programs == 0:  # an empty grid is an error
        return output, final_state
    with torch.cuda.device_of(q):  # Triton launches on the current device
        mtp_kernel[(triton.cdiv(dim_v, BLOCK_V) * heads * programs,)](
            q, k, v, pool, slots, A_log, a, dt_bias, b, output, final_state, scale, batch, tokens,
            pool.shape[0], heads, heads // qk_heads, dim_k, dim_v, triton.next_power_of_2(dim_k),
            BLOCK_V, triton.next_power_of_2(max(1, batch)), num_warps=num_warps,
        )  # fmt: skip
    return output, final_state
