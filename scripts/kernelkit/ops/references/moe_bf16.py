"""Mixture of unquantised experts whose routing is given.

An expert is W2 (silu(W_gate x) * W_up x); the rows of fc1_expert_weights are [up; gate]. A number
in token_selected_experts that is no expert's contributes nothing. Sums are float32.
"""

import torch


@torch.no_grad()
def run(input, token_selected_experts, token_final_scales, fc1_expert_weights, fc2_expert_weights):
    x = input.to(torch.float32)
    output = torch.zeros_like(x)
    for expert in torch.unique(token_selected_experts).tolist():
        if not 0 <= expert < fc1_expert_weights.shape[0]:
            continue
        tokens, places = torch.nonzero(token_selected_experts == expert, as_tuple=True)
        both = torch.matmul(x[tokens], fc1_expert_weights[expert].to(torch.float32).T)
        up, gate = both.chunk(2, dim=1)
        inner = torch.nn.functional.silu(gate) * up
        y = torch.matmul(inner, fc2_expert_weights[expert].to(torch.float32).T)
        output.index_add_(0, tokens, y * token_final_scales[tokens, places, None])
    return output.to(input.dtype)
