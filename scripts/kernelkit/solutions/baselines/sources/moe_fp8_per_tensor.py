"""Experts with one float8 scale a projection by FlashInfer's CUTLASS kernel in bfloat16.

The kernel's own float8 form quantises between the GEMMs by a scale that the definition does not
give, so the scales are multiplied into bfloat16 weights, in each call. Llama-4's routing weight
stands before the first GEMM.
"""

import torch

from .experts import ROUTING, experts, route


def scaled(weights: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """[experts, rows, columns] times a factor for each expert, in bfloat16."""
    return (weights.to(torch.float32) * scale[:, None, None]).to(torch.bfloat16)


def compute(
    routing_logits: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    output1_scales_scalar: torch.Tensor,
    output1_scales_gate_scalar: torch.Tensor,
    gemm2_weights: torch.Tensor,
    output2_scales_scalar: torch.Tensor,
    routing_bias: torch.Tensor | None = None,
    local_expert_offset: int = 0,
) -> torch.Tensor:
    """hidden_states [tokens, hidden] float8 -> output [tokens, hidden] bfloat16."""
    chosen, weights = route(routing_logits, routing_bias, 1.0)
    x = hidden_states.to(torch.float32)
    if ROUTING == "llama4":
        x, weights = x * weights, torch.ones_like(weights)
    up, gate = gemm1_weights.chunk(2, dim=1)
    gemm1 = [scaled(up, output1_scales_scalar), scaled(gate, output1_scales_gate_scalar)]
    return experts(
        x.to(torch.bfloat16),
        chosen,
        weights,
        torch.cat(gemm1, dim=1),
        scaled(gemm2_weights, output2_scales_scalar),
        int(local_expert_offset),
    )
