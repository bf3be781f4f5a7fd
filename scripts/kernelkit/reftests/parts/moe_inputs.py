"""Inputs of routed experts: weights of variance 1/K, so that up, gate and output are near one."""

from __future__ import annotations

import torch

from kernelkit.reftests.parts.draws import normal

Inputs = dict[str, torch.Tensor | float]
BLOCK = 128
FP8_MAX = 448.0
FP8_SIGMA = FP8_MAX / 4  # of the normal values that are stored as float8
INNER = FP8_MAX / 40  # per-tensor kind: scale of the product of up and gate
INPUT_LARGEST = 5.0  # per-tensor kind: the activation that becomes FP8_MAX
BIAS = 0.1


def sizes_of(axes: dict[str, int]) -> tuple[int, int, int, int, int]:
    """Experts of all ranks, experts of this one, tokens, hidden and intermediate size."""
    local = axes["num_local_experts"] if "num_local_experts" in axes else axes["num_experts"]
    experts = axes["num_experts"] if "num_experts" in axes else local
    return experts, local, axes["seq_len"], axes["hidden_size"], axes["intermediate_size"]


def router_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Logits as a router gives them, and what goes with them; where there are several ranks, the
    second one's experts."""
    experts, local, tokens, _, _ = sizes_of(axes)
    return {
        "routing_logits": normal((tokens, experts), rng),
        "routing_bias": normal((experts,), rng, BIAS),
        "local_expert_offset": local if experts >= 2 * local else 0,
        "routed_scaling_factor": 2.5,
    }


def fp8_normal(shape: tuple[int, ...], rng: torch.Generator) -> torch.Tensor:
    """Normal values of FP8_SIGMA in float8, expert by expert."""
    result = torch.empty(shape, dtype=torch.float8_e4m3fn, device=rng.device)
    for expert in range(shape[0]):
        values = normal(shape[1:], rng, FP8_SIGMA).clamp(-FP8_MAX, FP8_MAX)
        result[expert] = values.to(torch.float8_e4m3fn)
    return result


def around(centre: float, shape: tuple[int, ...], rng: torch.Generator) -> torch.Tensor:
    """Scales between 0.6 and 1.4 times `centre`."""
    return (torch.rand(shape, generator=rng, device=rng.device) * 0.8 + 0.6) * centre


def moe_fp8_block_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """float8 weights with a scale for each 128 x 128, activations with one for each 128."""
    _, local, tokens, hidden, inner = sizes_of(axes)
    x = normal((tokens, hidden // BLOCK, BLOCK), rng)
    scale = x.abs().amax(dim=2) / FP8_MAX
    blocks, inner_blocks = hidden // BLOCK, inner // BLOCK
    return {
        **router_inputs(axes, rng),
        "hidden_states": (x / scale[..., None]).to(torch.float8_e4m3fn).flatten(1),
        "hidden_states_scale": scale.T.contiguous(),
        "gemm1_weights": fp8_normal((local, 2 * inner, hidden), rng),
        "gemm1_weights_scale": around(
            hidden**-0.5 / FP8_SIGMA, (local, 2 * inner_blocks, blocks), rng
        ),
        "gemm2_weights": fp8_normal((local, hidden, inner), rng),
        "gemm2_weights_scale": around(inner**-0.5 / FP8_SIGMA, (local, blocks, inner_blocks), rng),
    }


def moe_fp8_tensor_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """float8 weights and activations, three scales an expert."""
    _, local, tokens, hidden, inner = sizes_of(axes)
    x = normal((tokens, hidden), rng, FP8_MAX / INPUT_LARGEST).clamp(-FP8_MAX, FP8_MAX)
    gate = INPUT_LARGEST / FP8_MAX * hidden**-0.5 / FP8_SIGMA
    return {
        **router_inputs(axes, rng),
        "hidden_states": x.to(torch.float8_e4m3fn),
        "gemm1_weights": fp8_normal((local, 2 * inner, hidden), rng),
        "output1_scales_scalar": around(gate * INNER, (local,), rng),
        "output1_scales_gate_scalar": around(gate, (local,), rng),
        "gemm2_weights": fp8_normal((local, hidden, inner), rng),
        "output2_scales_scalar": around(inner**-0.5 / FP8_SIGMA / INNER, (local,), rng),
    }


def moe_fp4_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """bfloat16 activations, dequantised float4 weights: 0, 0.5, 1, 1.5, 2, 3, 4 or 6 times a power
    of two, with a sign."""
    _, local, tokens, hidden, inner = sizes_of(axes)
    return {
        **router_inputs(axes, rng),
        "hidden_states": normal((tokens, hidden), rng),
        "gemm1_weights": fp4_normal((local, 2 * inner, hidden), rng),
        "gemm2_weights": fp4_normal((local, hidden, inner), rng),
    }


def fp4_normal(shape: tuple[int, ...], rng: torch.Generator) -> torch.Tensor:
    """Normal values of variance 1 / shape[2], rounded to float4 with one power of two."""
    unit = 2.0 ** torch.tensor(shape[2] ** -0.5 / 2.0).log2().round()
    grid = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], device=rng.device)
    edges = (grid[1:] + grid[:-1]) / 2
    result = torch.empty(shape, device=rng.device)
    for expert in range(shape[0]):
        values = normal(shape[1:], rng, shape[2] ** -0.5) / unit
        result[expert] = grid[torch.bucketize(values.abs(), edges)] * values.sign() * unit
    return result


def moe_fp4_routed_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Experts that were chosen before: (expert << 16) | bits of the bfloat16 weight."""
    experts, _, tokens, _, _ = sizes_of(axes)
    values, chosen = normal((tokens, experts), rng).topk(axes["top_k"], dim=1)
    weights = values.softmax(dim=1) if axes["top_k"] > 1 else values.sigmoid()
    bits = weights.to(torch.bfloat16).view(torch.int16).to(torch.int32) & 0xFFFF
    return {**moe_fp4_inputs(axes, rng), "topk_ids": chosen.to(torch.int32) << 16 | bits}


def moe_bf16_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Experts that were chosen before, with float32 weights; all in bfloat16."""
    experts, _, tokens, hidden, inner = sizes_of(axes)
    values, chosen = normal((tokens, experts), rng).topk(axes["top_k"], dim=1)
    return {
        "input": normal((tokens, hidden), rng),
        "token_selected_experts": chosen.to(torch.int32),
        "token_final_scales": values.softmax(dim=1) if axes["top_k"] > 1 else values.sigmoid(),
        "fc1_expert_weights": normal((experts, 2 * inner, hidden), rng, hidden**-0.5),
        "fc2_expert_weights": normal((experts, hidden, inner), rng, inner**-0.5),
    }
