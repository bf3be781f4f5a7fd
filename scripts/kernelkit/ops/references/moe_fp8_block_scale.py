"""Mixture of experts: float8 activations and weights with float32 scales of blocks of 128.

ROUTING gives the weights of the TOP_K experts of highest logit (ties: the lower expert first):
renorm: softmax over their logits; default: their share of the softmax over all experts;
renorm_naive: that share, divided by its sum; llama4: sigmoid of the logit; topk: 1 / TOP_K each.
The rows of gemm1_weights are [up; gate]; the experts at hand are those from local_expert_offset on,
others contribute nothing. Sums are float32.
"""

import torch

ROUTING = "renorm"
TOP_K = 8
BLOCK = 128


def route(logits):
    """Experts and their weights, [tokens, TOP_K] each."""
    best = torch.sort(logits, dim=1, descending=True, stable=True)
    values, chosen = best.values[:, :TOP_K], best.indices[:, :TOP_K]
    if ROUTING == "renorm":
        return chosen, torch.softmax(values, dim=1)
    if ROUTING == "llama4":
        return chosen, torch.sigmoid(values)
    if ROUTING == "topk":
        return chosen, torch.full_like(values, 1.0 / TOP_K)
    share = torch.softmax(logits, dim=1).gather(1, chosen)
    if ROUTING == "renorm_naive":
        share = share / share.sum(dim=1, keepdim=True)
    return chosen, share


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


def dequantise(weight, scale):
    """[rows, columns] times the scale of each block."""
    blocks = weight.to(torch.float32).unflatten(1, (-1, BLOCK)).unflatten(0, (-1, BLOCK))
    return (blocks * scale[:, None, :, None]).flatten(2, 3).flatten(0, 1)


@torch.no_grad()
def run(
    routing_logits,
    hidden_states,
    hidden_states_scale,
    gemm1_weights,
    gemm1_weights_scale,
    gemm2_weights,
    gemm2_weights_scale,
    local_expert_offset,
):
    chosen, weights = route(routing_logits.to(torch.float32))
    x = hidden_states.to(torch.float32) * hidden_states_scale.T.repeat_interleave(BLOCK, dim=1)
    output = torch.zeros_like(x)
    local = gemm1_weights.shape[0]
    for expert, tokens, places in grouped(chosen, int(local_expert_offset), local):
        w13 = dequantise(gemm1_weights[expert], gemm1_weights_scale[expert])
        up, gate = torch.matmul(x[tokens], w13.T).chunk(2, dim=1)
        w2 = dequantise(gemm2_weights[expert], gemm2_weights_scale[expert])
        y = torch.matmul(torch.nn.functional.silu(gate) * up, w2.T)
        output.index_add_(0, tokens, y * weights.flatten()[places, None])
    return output.to(torch.bfloat16)
