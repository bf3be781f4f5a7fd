"""One token of the gated delta rule in Triton, states [V, K] in float32: read once, written once.

Rows of a state do not meet: a program takes BLOCK_V of them. Both products with the old state, S k
and S q, are taken at once; the new state's follows without a second pass, since
(decay S + delta k^T) q = decay (S q) + delta (k . q). The gates are computed in the kernel.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .softplus import softplus


@triton.jit
def gdn_kernel(
    q_ptr, k_ptr, v_ptr, state_ptr, A_log, a_ptr, dt_bias, b_ptr, output, new_state, scale,
    q_batch, k_batch, v_batch, a_batch, b_batch,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM_K: tl.constexpr, DIM_V: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr, HAS_STATE: tl.constexpr,
):  # fmt: skip
    """BLOCK_V rows of one value head's state of one request."""
    rows, head = tl.program_id(0), tl.program_id(1)
    request = tl.program_id(2).to(tl.int64)
    i = rows * BLOCK_V + tl.arange(0, BLOCK_V)
    j = tl.arange(0, BLOCK_K)
    place = ((request * HEADS + head) * DIM_V + i[:, None]) * DIM_K + j[None, :]
    inside = (i[:, None] < DIM_V) & (j[None, :] < DIM_K)
    if HAS_STATE:
        state = tl.load(state_ptr + place, mask=inside, other=0.0, eviction_policy="evict_first")
    key_head = head // GROUP
    q = tl.load(q_ptr + request * q_batch + key_head * DIM_K + j, mask=j < DIM_K, other=0.0)
    k = tl.load(k_ptr + request * k_batch + key_head * DIM_K + j, mask=j < DIM_K, other=0.0)
    v = tl.load(v_ptr + request * v_batch + head * DIM_V + i, mask=i < DIM_V, other=0.0)
    gate = tl.load(a_ptr + request * a_batch + head).to(tl.float32)
    gate += tl.load(dt_bias + head).to(tl.float32)
    rate = tl.exp(tl.load(A_log + head).to(tl.float32))
    beta = tl.load(b_ptr + request * b_batch + head).to(tl.float32)
    q, k, v = q.to(tl.float32), k.to(tl.float32), v.to(tl.float32)
    decay = tl.exp(-rate * softplus(gate))
    beta = 1.0 / (1.0 + tl.exp(-beta))
    if HAS_STATE:
        along_k = tl.sum(state * k[None, :], axis=1)
        along_q = tl.sum(state * q[None, :], axis=1)
        delta = beta * (v - decay * along_k)
        result = decay * along_q + delta * tl.sum(k * q, axis=0)
        state = decay * state + delta[:, None] * k[None, :]
    else:
        delta = beta * v
        result = delta * tl.sum(k * q, axis=0)
        state = delta[:, None] * k[None, :]
    tl.store(new_state + place, state, mask=inside, cache_modifier=".cs")
    out = output + (request * HEADS + head) * DIM_V + i
    tl.store(out, (result * scale).to(output.dtype.element_ty), mask=i < DIM_V)


def gdn_decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor | None,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
    scale: float,
    *,
    BLOCK_V: int,
    num_warps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [batch, 1, qk heads, K], v [batch, 1, heads, V], a and b [batch, 1, heads], state
    [batch, heads, V, K] float32 or None for zeros. Returns output [batch, 1, heads, V] of q's type
    and the new state."""
    batch, _, heads, dim_v = v.shape
    qk_heads, dim_k = q.shape[2], q.shape[3]
    q, k, v, a, b = (x.contiguous() for x in (q, k, v, a, b))
    output = torch.empty((batch, 1, heads, dim_v), dtype=q.dtype, device=q.device)
    new_state = torch.empty((batch, heads, dim_v, dim_k), dtype=torch.float32, device=q.device)
    if batch == 0:  # an empty grid is an error
        return output, new_state
    has_state = state is not None
    state = state.to(torch.float32).contiguous() if has_state else new_state  # the latter: not read
    with torch.cuda.device_of(q):  # Triton launches on the current device
        gdn_kernel[(triton.cdiv(dim_v, BLOCK_V), heads, batch)](
            q, k, v, state, A_log, a, dt_bias, b, output, new_state, scale,
            q.stride(0), k.stride(0), v.stride(0), a.stride(0), b.stride(0),
            heads, heads // qk_heads, dim_k, dim_v, triton.next_power_of_2(dim_k), BLOCK_V,
            has_state, num_warps=num_warps,
        )  # fmt: skip
    return output, new_state
