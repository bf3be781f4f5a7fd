"""Mixture of experts: float8 activations and weights, three float32 scales an expert.

up and gate (gemm1_weights' rows are [up; gate]) are multiplied by output1_scales_scalar and
output1_scales_gate_scalar, the result by output2_scales_scalar. ROUTING: renorm: the TOP_K experts
of highest logit, weights are the softmax over their logits, on the output; llama4: the best expert,
its weight is the sigmoid of its logit, on the input. Ties: the lower expert first. The bias is
added to the logits. Experts at hand: those from local_expert_offset on. Sums are float32.
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
    output1_scales_scalar,
    output1_scales_gate_scalar,
    gemm2_weights,
    output2_scales_scalar,
    routing_bias,
    local_expert_offset,
):
    logits = routing_logits.to(torch.float32) + routing_bias.to(torch.float32)
    chosen, weights = route(logits)
    x = hidden_states.to(torch.float32)
    output = torch.zeros_like(x)
    local = gemm1_weights.shape[0]
    for expert, tokens, places in grouped(chosen, int(local_expert_offset), local):
        weight = weights.flatten()[places, None]
        rows = x[tokens] * weight if ROUTING == "llama4" else x[tokens]
        up, gate = torch.matmul(rows, gemm1_weights[expert].to(torch.float32).T).chunk(2, dim=1)
        gate = gate * output1_scales_gate_scalar[expert]
        act = torch.nn.functional.silu(gate) * (up * output1_scales_scalar[expert])
        y = torch.matmul(act, gemm2_weights[expert].to(torch.float32).T)
        y = y * output2_scales_scalar[expert]
        output.index_add_(0, tokens, y if ROUTING == "llama4" else y * weight)
    return output.to(torch.bfloat16)
