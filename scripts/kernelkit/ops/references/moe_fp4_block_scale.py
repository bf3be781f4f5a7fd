"""Mixture of experts: bfloat16 activations, float4 weights given dequantised as float32.

ROUTING: renorm: the TOP_K experts of highest logit, weighted by the softmax over their logits;
llama4: the best expert, weighted by the sigmoid of its logit. Ties: the lower expert first. The
bias is added to the logits. The rows of gemm1_weights are [up; gate]; the experts at hand are those
from local_expert_offset on, others contribute nothing. Sums are float32.
"""

import torch

ROUTING = "renorm"
TOP_K = 8


def route(logits):
    """Experts and their weights, [tokens, TOP_K] each."""
    best = torch.sort(logits, dim=1, descending=True, stable=True)
    values, chosen = best.values[:, :TOP_K], best.indices[:, :TOP_K]
    weights = torch.sigmoid(values) if ROUTING == "llama4" else torch.softmax(values, dim=1)
    return chosen, weights


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
def run(
    routing_logits,
    hidden_states,
    gemm1_weights,
    gemm2_weights,
    routing_bias,
    local_expert_offset,
):
    logits = routing_logits.to(torch.float32) + routing_bias.to(torch.float32)
    chosen, weights = route(logits)
    x = hidden_states.to(torch.float32)
    output = torch.zeros_like(x)
    local = gemm1_weights.shape[0]
    for expert, tokens, places in grouped(chosen, int(local_expert_offset), local):
        up, gate = torch.matmul(x[tokens], gemm1_weights[expert].T).chunk(2, dim=1)
        y = torch.matmul(torch.nn.functional.silu(gate) * up, gemm2_weights[expert].T)
        output.index_add_(0, tokens, y * weights.flatten()[places, None])
    return output.to(torch.bfloat16)
