"""Mixture of experts whose routing is given; float4 weights given dequantised as float32.

An entry of topk_ids is (expert << 16) | the bits of its bfloat16 weight. The rows of gemm1_weights
are [up; gate]; the experts at hand are those from local_expert_offset on, others contribute
nothing. Sums are float32.
"""

import torch


def grouped(chosen, first, count):
    """For each local expert that has tokens: its number, its tokens, their places in `chosen`."""
    local = chosen.flatten() - first
    order = torch.argsort(local, stable=True)
    sizes = torch.bincount(local.clamp(-1, count) + 1, minlength=count + 2).tolist()
    start = sizes[0]
    for expert, size in enumerate(sizes[1 : count + 1]):
        if size:
            places = order[start : start + size]
            yield expert, places // chosen.shape[1], places
            start += size


@torch.no_grad()
def run(topk_ids, hidden_states, gemm1_weights, gemm2_weights, local_expert_offset):
    chosen = topk_ids >> 16
    # A bfloat16 is the upper half of a float32.
    weights = (topk_ids << 16).view(torch.float32)
    x = hidden_states.to(torch.float32)
    output = torch.zeros_like(x)
    local = gemm1_weights.shape[0]
    for expert, tokens, places in grouped(chosen, int(local_expert_offset), local):
        up, gate = torch.matmul(x[tokens], gemm1_weights[expert].T).chunk(2, dim=1)
        y = torch.matmul(torch.nn.functional.silu(gate) * up, gemm2_weights[expert].T)
        output.index_add_(0, tokens, y * weights.flatten()[places, None])
    return output.to(torch.bfloat16)
