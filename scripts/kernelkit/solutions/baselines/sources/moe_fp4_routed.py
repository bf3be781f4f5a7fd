"""Experts of a given routing whose float4 weights are given dequantised, by FlashInfer's CUTLASS
kernel in bfloat16.

An entry of topk_ids is an expert in its upper 16 bits, and the bits of its bfloat16 weight in the
lower ones. The float32 weights are rounded to bfloat16 in each call; that cost is part of the time.
"""

import torch

from .experts import experts


def compute(
    topk_ids: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
    local_expert_offset: int = 0,
) -> torch.Tensor:
    """hidden_states [tokens, hidden] bfloat16 -> output like it."""
    weights = (topk_ids << 16).view(torch.float32)  # a bfloat16 is the upper half of a float32
    return experts(
        hidden_states.contiguous(),
        topk_ids >> 16,
        weights,
        gemm1_weights.to(torch.bfloat16),
        gemm2_weights.to(torch.bfloat16),
        int(local_expert_offset),
    )
