"""Ground truth of the recurrent families.

The gated delta rule as its paper writes it, with states [K, V]:
S_t = S_(t-1) alpha (I - beta k k^T) + beta v k^T, output = S q / sqrt(K); alpha the decay.
"""

from __future__ import annotations

import torch

Tensors = dict[str, torch.Tensor]


def gates(inputs: Tensors, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """log(alpha) = -exp(A_log) log(1 + exp(a + dt_bias)) and beta = 1 / (1 + exp(-b))."""
    a, b = inputs["a"].to(dtype), inputs["b"].to(dtype)
    step = torch.logaddexp(a + inputs["dt_bias"].to(dtype), a.new_zeros(()))
    return -torch.exp(inputs["A_log"].to(dtype)) * step, 1.0 / (1.0 + torch.exp(-b))


def scale_of(inputs: Tensors) -> float:
    """The output scale: 1 / sqrt(K) where it is 0 or absent."""
    return float(inputs.get("scale") or inputs["q"].shape[-1] ** -0.5)


def torch_delta_rule(
    tensors: Tensors, state: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """One sequence, token by token in float64: q, k [t, heads, K], v [t, value heads, V], log_alpha
    and beta [t, value heads], state [value heads, V, K] -> output [t, value heads, V], state."""
    group = state.shape[0] // tensors["q"].shape[1]
    q, k = (tensors[name].double().repeat_interleave(group, dim=1) for name in ("q", "k"))
    v, memory = tensors["v"].double(), state.double().transpose(1, 2)
    unit = torch.eye(k.shape[2], dtype=torch.float64, device=k.device)
    outputs = []
    for t in range(len(q)):
        alpha, beta = tensors["log_alpha"][t].exp(), tensors["beta"][t]
        erase = unit - torch.einsum("h,hi,hj->hij", beta, k[t], k[t])
        write = torch.einsum("h,hi,hj->hij", beta, k[t], v[t])
        memory = torch.einsum("h,hij,hjv->hiv", alpha, erase, memory) + write
        outputs.append(torch.einsum("hi,hiv->hv", q[t], memory) * scale)
    return torch.stack(outputs) if outputs else v.new_zeros(v.shape), memory.transpose(1, 2)


def torch_gdn_decode(inputs: Tensors) -> Tensors:
    """One token a request."""
    log_alpha, beta = gates(inputs, torch.float64)
    outputs, states = [], []
    for i in range(len(inputs["q"])):
        tensors = {name: inputs[name][i] for name in ("q", "k", "v")}
        tensors |= {"log_alpha": log_alpha[i], "beta": beta[i]}
        output, state = torch_delta_rule(tensors, inputs["state"][i], scale_of(inputs))
        outputs.append(output)
        states.append(state)
    return {"output": torch.stack(outputs), "new_state": torch.stack(states)}


def torch_gdn_mtp(inputs: Tensors) -> Tensors:
    """Several tokens a request, from the pool's states, which stay as they are."""
    slots = inputs["initial_state_indices"].long()
    states = inputs["initial_state"][slots.clamp(min=0)]
    output = torch_gdn_decode({**inputs, "state": states})["output"]
    output[slots < 0] = 0.0
    return {"output": output, "final_state": inputs["initial_state"]}


def torch_gdn_prefill(inputs: Tensors) -> Tensors:
    """Ragged sequences, one after the other."""
    log_alpha, beta = gates(inputs, torch.float64)
    ends = inputs["cu_seqlens"].tolist()
    outputs, states = [], []
    for i, (first, end) in enumerate(zip(ends, ends[1:], strict=False)):
        tensors = {name: inputs[name][first:end] for name in ("q", "k", "v")}
        tensors |= {"log_alpha": log_alpha[first:end], "beta": beta[first:end]}
        output, state = torch_delta_rule(tensors, inputs["state"][i], scale_of(inputs))
        outputs.append(output)
        states.append(state)
    return {"output": torch.cat(outputs), "new_state": torch.stack(states)}


def flashinfer_gdn_decode(inputs: Tensors) -> Tensors:
    """gated_delta_rule_decode_pretranspose, which updates the state in place."""
    from flashinfer.gdn_decode import gated_delta_rule_decode_pretranspose

    output, state = gated_delta_rule_decode_pretranspose(
        *(inputs[name] for name in ("q", "k", "v")),
        inputs["state"].clone(),
        *(inputs[name] for name in ("A_log", "a", "dt_bias", "b")),
        scale=scale_of(inputs),
        use_qk_l2norm=False,
    )
    return {"output": output, "new_state": state}


def flashinfer_gdn_mtp(inputs: Tensors) -> Tensors:
    """gated_delta_rule_mtp without an update of the pool."""
    from flashinfer.gdn_decode import gated_delta_rule_mtp

    names = ("q", "k", "v", "initial_state", "initial_state_indices", "A_log", "a", "dt_bias", "b")
    output, state = gated_delta_rule_mtp(
        *(inputs[name] for name in names),
        scale=scale_of(inputs),
        disable_state_update=True,
        use_qk_l2norm=False,
    )
    return {"output": output, "final_state": state}


def flashinfer_gdn_prefill(inputs: Tensors) -> Tensors:
    """chunk_gated_delta_rule, which takes the decay itself (not its logarithm) and beta."""
    from flashinfer.gdn_prefill import chunk_gated_delta_rule

    log_alpha, beta = gates(inputs, torch.float32)
    output, state = chunk_gated_delta_rule(
        *(inputs[name] for name in ("q", "k", "v")),
        g=log_alpha.exp(),
        beta=beta,
        scale=scale_of(inputs),
        initial_state=inputs["state"],
        output_final_state=True,
        cu_seqlens=inputs["cu_seqlens"],
    )
    return {"output": output, "new_state": state}


def fla_arguments(inputs: Tensors, state: torch.Tensor) -> dict[str, torch.Tensor | float | bool]:
    """flash-linear-attention's arguments: heads repeated, the decay's logarithm, states [K, V]."""
    heads_axis = inputs["q"].dim() - 2
    group = inputs["v"].shape[heads_axis] // inputs["q"].shape[heads_axis]
    log_alpha, beta = gates(inputs, torch.float32)
    return {
        "q": inputs["q"].repeat_interleave(group, dim=heads_axis),
        "k": inputs["k"].repeat_interleave(group, dim=heads_axis),
        "v": inputs["v"],
        "g": log_alpha,
        "beta": beta,
        "scale": scale_of(inputs),
        "initial_state": state.transpose(-1, -2).contiguous(),
        "output_final_state": True,
    }


def fla_gdn_decode(inputs: Tensors) -> Tensors:
    """flash-linear-attention's fused_recurrent_gated_delta_rule."""
    from fla.ops import gated_delta_rule

    arguments = fla_arguments(inputs, inputs["state"])
    output, state = gated_delta_rule.fused_recurrent_gated_delta_rule(**arguments)
    return {"output": output, "new_state": state.transpose(-1, -2)}


def fla_gdn_mtp(inputs: Tensors) -> Tensors:
    """flash-linear-attention's recurrent kernel from the pool's states."""
    slots = inputs["initial_state_indices"].long()
    states = inputs["initial_state"][slots.clamp(min=0)]
    output = fla_gdn_decode({**inputs, "state": states})["output"]
    return {"output": output.masked_fill((slots < 0)[:, None, None, None], 0.0)}


def fla_gdn_prefill(inputs: Tensors) -> Tensors:
    """flash-linear-attention's chunk_gated_delta_rule over ragged sequences."""
    from fla.ops import gated_delta_rule

    arguments = fla_arguments(inputs, inputs["state"])
    for name in ("q", "k", "v", "g", "beta"):
        arguments[name] = arguments[name][None]
    output, state = gated_delta_rule.chunk_gated_delta_rule(
        **arguments, cu_seqlens=inputs["cu_seqlens"]
    )
    return {"output": output[0], "new_state": state.transpose(-1, -2)}


def torch_mamba(inputs: Tensors) -> Tensors:
    """Request by request and head by head in float64, from Mamba-2's equations."""
    x, pool = inputs["x"].double(), inputs["state"].double()
    heads, groups = x.shape[1], inputs["B"].shape[1]
    step = inputs["dt"].double() + inputs["dt_bias"].double()
    step = torch.logaddexp(step, step.new_zeros(()))
    a, skip = inputs["A"].double(), inputs["D"].double()
    output, new_state = torch.zeros_like(x), pool.clone()
    for request, slot in enumerate(inputs["state_batch_indices"].tolist()):
        for head in range(heads if slot >= 0 else 0):
            group = head * groups // heads
            b, c = (inputs[name][request, group].double() for name in ("B", "C"))
            dt = step[request, head][:, None]
            old = pool[slot, head]
            new = torch.exp(a[head] * dt) * old + dt * torch.outer(x[request, head], b)
            new_state[slot, head] = new
            output[request, head] = new @ c + skip[head] * x[request, head]
    return {"output": output, "new_state": new_state}


def flashinfer_mamba(inputs: Tensors) -> Tensors:
    """selective_state_update; A, dt, D and dt_bias as broadcast views of one value a head."""
    from flashinfer.mamba import selective_state_update

    state = inputs["state"].clone()
    output = selective_state_update(
        state,
        inputs["x"],
        inputs["dt"][..., :1].expand_as(inputs["dt"]),
        inputs["A"][..., :1, :1].expand_as(inputs["A"]),
        inputs["B"],
        inputs["C"],
        inputs["D"][..., :1].expand_as(inputs["D"]),
        dt_bias=inputs["dt_bias"][..., :1].expand_as(inputs["dt_bias"]),
        dt_softplus=True,
        state_batch_indices=inputs["state_batch_indices"],
    )
    padded = (inputs["state_batch_indices"] < 0)[:, None, None]
    return {"output": output.masked_fill(padded, 0.0), "new_state": state}
