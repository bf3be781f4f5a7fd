"""Unquantised experts of a given routing by FlashInfer's CUTLASS kernel.

The kernel leaves out numbers that are no expert's, and adds a token's experts in the outputs' type
where its tuning chooses to.
"""

import torch

from .experts import experts


def compute(
    input: torch.Tensor,
    token_selected_experts: torch.Tensor,
    token_final_scales: torch.Tensor,
    fc1_expert_weights: torch.Tensor,
    fc2_expert_weights: torch.Tensor,
) -> torch.Tensor:
    """input [tokens, hidden] -> output like it."""
    return experts(
        input.contiguous(),
        token_selected_experts,
        token_final_scales,
        fc1_expert_weights,
        fc2_expert_weights,
        0,
    )
