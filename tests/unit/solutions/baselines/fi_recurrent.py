"""Stand-ins for FlashInfer's recurrent kernels, which update states in place, and its experts."""

from __future__ import annotations

import itertools
from typing import Any

import torch

RUBBISH = 7.0


def delta(
    state: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, decay: torch.Tensor,
    beta: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """One token of one request: state [h, V, K] is updated in place, [h, V] is returned."""
    group = v.shape[0] // q.shape[0]
    q, k = (x.float().repeat_interleave(group, dim=0) for x in (q, k))
    state.mul_(decay[:, None, None])
    change = (v.float() - torch.einsum("hvk,hk->hv", state, k)) * beta[:, None]
    state.add_(torch.einsum("hv,hk->hvk", change, k))
    return torch.einsum("hvk,hk->hv", state, q)


def gates(A_log: Any, a: Any, dt_bias: Any, b: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Decay and beta."""
    step = torch.log1p(torch.exp(a.float() + dt_bias.float()))
    return torch.exp(-A_log.exp() * step), b.float().sigmoid()


def gated_delta_rule_decode_pretranspose(
    q: Any, k: Any, v: Any, state: Any, A_log: Any, a: Any, dt_bias: Any, b: Any, *, scale: float,
    use_qk_l2norm: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    assert not use_qk_l2norm and scale > 0 and state.is_contiguous()
    decay, beta = gates(A_log, a, dt_bias, b)
    rows = [delta(state[i], q[i, 0], k[i, 0], v[i, 0], decay[i, 0], beta[i, 0])
            for i in range(len(q))]  # fmt: skip
    return (torch.stack(rows)[:, None] * scale).to(q.dtype), state


def gated_delta_rule_mtp(
    q: Any, k: Any, v: Any, initial_state: Any, initial_state_indices: Any, A_log: Any, a: Any,
    dt_bias: Any, b: Any, *, scale: float, intermediate_states_buffer: Any,
    disable_state_update: bool, use_qk_l2norm: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    assert disable_state_update and not use_qk_l2norm and intermediate_states_buffer is None
    decay, beta = gates(A_log, a, dt_bias, b)
    output = torch.empty(v.shape)
    for i, slot in enumerate(initial_state_indices.tolist()):
        state = initial_state[slot].clone()
        for t in range(q.shape[1]):
            output[i, t] = delta(state, q[i, t], k[i, t], v[i, t], decay[i, t], beta[i, t])
    return (output * scale).to(q.dtype), initial_state


def chunk_gated_delta_rule(
    q: Any, k: Any, v: Any, *, g: Any, beta: Any, scale: float, initial_state: Any,
    output_final_state: bool, cu_seqlens: Any, use_qk_l2norm_in_kernel: bool, output_state: Any,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    assert output_final_state and not use_qk_l2norm_in_kernel and cu_seqlens.dtype is torch.int64
    assert g.dtype is beta.dtype is torch.float32 and output_state is not initial_state
    output = torch.empty(v.shape)
    for i, (start, end) in enumerate(itertools.pairwise(cu_seqlens.tolist())):
        state = initial_state[i].clone()
        for t in range(start, end):
            output[t] = delta(state, q[t], k[t], v[t], g[t], beta[t])
        if end > start:  # an empty sequence's state is not written
            output_state[i] = state
    return (output * scale).to(q.dtype), output_state


def selective_state_update(
    state: Any, x: Any, dt: Any, A: Any, B: Any, C: Any, D: Any, *, dt_bias: Any,
    dt_softplus: bool, state_batch_indices: Any, pad_slot_id: int,
) -> torch.Tensor:  # fmt: skip
    assert dt_softplus and dt.stride()[1:] == (1, 0) and A.stride() == (1, 0, 0)
    assert D.stride() == dt_bias.stride() == (1, 0)
    group = x.shape[1] // B.shape[1]
    output = torch.full(x.shape, RUBBISH, dtype=x.dtype)
    for i, slot in enumerate(state_batch_indices.tolist()):
        if slot == pad_slot_id:
            continue
        step = torch.log1p(torch.exp(dt[i].float() + dt_bias.float()))[..., None]
        b, c = (y[i].float().repeat_interleave(group, dim=0)[:, None] for y in (B, C))
        new = state[slot].float() * torch.exp(A * step) + step * x[i].float()[..., None] * b
        output[i] = ((new * c).sum(dim=-1) + x[i].float() * D.float()).to(x.dtype)
        state[slot] = new.to(state.dtype)
    return output


def cutlass_fused_moe(
    input: Any, token_selected_experts: Any, token_final_scales: Any, fc1: Any, fc2: Any,
    output_dtype: Any, *, quant_scales: Any, ep_size: int, ep_rank: int, output: Any,
    use_deepseek_fp8_block_scale: bool,
) -> torch.Tensor:  # fmt: skip
    assert input.dtype is output_dtype is torch.bfloat16 and output.shape == input.shape
    assert token_selected_experts.dtype is torch.int32
    assert token_final_scales.dtype is torch.float32
    if use_deepseek_fp8_block_scale:
        spread = [s.repeat_interleave(128, 1).repeat_interleave(128, 2) for s in quant_scales]
        fc1, fc2 = fc1.float() * spread[0], fc2.float() * spread[1]
    first = ep_rank * len(fc1)
    assert token_selected_experts.min() >= 0
    assert token_selected_experts.max() < ep_size * len(fc1)
    output.zero_()
    total = torch.zeros(output.shape)
    for token, row in enumerate(token_selected_experts.tolist()):
        for place, expert in enumerate(row):
            if first <= expert < first + len(fc1):
                up, gate = (fc1[expert - first].float() @ input[token].float()).chunk(2)
                inner = torch.nn.functional.silu(gate) * up
                share = token_final_scales[token, place]
                total[token] += share * (fc2[expert - first].float() @ inner)
    return output.copy_(total)
