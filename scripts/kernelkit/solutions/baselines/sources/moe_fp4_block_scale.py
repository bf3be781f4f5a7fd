"""Experts whose float4 weights are given dequantised, by FlashInfer's CUTLASS kernel in bfloat16.

The float32 weights are rounded to bfloat16 in each call; that cost is part of the time.
"""

import torch

from .experts import experts, route


def compute(
    routing_logits: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
    routing_bias: torch.Tensor | None = None,
    local_expert_offset: int = 0,
) -> torch.Tensor:
    """hidden_states [tokens, hidden] bfloat16 -> output like it."""
    chosen, weights = route(routing_logits, routing_bias, 1.0)
    return experts(
        hidden_states.contiguous(),
        chosen,
        weights,
        gemm1_weights.to(torch.bfloat16),
        gemm2_weights.to(torch.bfloat16),
        int(local_expert_offset),
    )
