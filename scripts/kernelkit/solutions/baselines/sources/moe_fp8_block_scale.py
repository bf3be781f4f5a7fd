"""Experts with float8 block scales by FlashInfer's CUTLASS kernel in its DeepSeek form.

The kernel takes bfloat16 tokens and quantises them itself: the float8 tokens are multiplied by
their scales first. Needs sm_90.
"""

import torch

from .experts import experts, route

BLOCK = 128


def compute(
    routing_logits: torch.Tensor,
    hidden_states: torch.Tensor,
    hidden_states_scale: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm1_weights_scale: torch.Tensor,
    gemm2_weights: torch.Tensor,
    gemm2_weights_scale: torch.Tensor,
    routing_bias: torch.Tensor | None = None,
    local_expert_offset: int = 0,
    routed_scaling_factor: float = 1.0,
) -> torch.Tensor:
    """hidden_states [tokens, hidden] float8, its scale [hidden / 128, tokens] -> output [tokens,
    hidden] bfloat16."""
    chosen, weights = route(routing_logits, routing_bias, float(routed_scaling_factor))
    blocks = hidden_states.to(torch.float32).unflatten(1, (-1, BLOCK))
    x = (blocks * hidden_states_scale.T[:, :, None]).flatten(1).to(torch.bfloat16)
    return experts(
        x,
        chosen,
        weights,
        gemm1_weights.contiguous(),
        gemm2_weights.contiguous(),
        int(local_expert_offset),
        [gemm1_weights_scale.contiguous(), gemm2_weights_scale.contiguous()],
    )
