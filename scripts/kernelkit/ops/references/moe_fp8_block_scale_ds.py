"""Mixture of experts with DeepSeek-V3's routing; float8, float32 scales of blocks of 128.

Scores are sigmoids; the bias counts in the selection only. The experts stand in N_GROUP groups; a
group's score is the sum of its two best; the TOP_K experts come from the TOPK_GROUP best groups
(ties: the lower number first). Weights are scores / (their sum + 1e-20) * routed_scaling_factor.
The rows of gemm1_weights are [up; gate]; the experts at hand are those from local_expert_offset on,
others contribute nothing. Sums are float32.
"""

import torch

TOP_K = 8
N_GROUP = 8
TOPK_GROUP = 4
BLOCK = 128


def best(scores, count):
    """Indices of the `count` highest of each row, the lower index first where they tie."""
    return torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :count]


def route(logits, bias, factor):
    """Experts and their weights, [tokens, TOP_K] each."""
    scores = torch.sigmoid(logits)
    biased = scores + bias
    groups = biased.unflatten(1, (N_GROUP, -1))
    group_score = groups.topk(min(2, groups.shape[2]), dim=2).values.sum(dim=2)
    kept = torch.zeros_like(group_score, dtype=torch.bool)
    kept.scatter_(1, best(group_score, TOPK_GROUP), True)
    lowest = torch.finfo(torch.float32).min
    chosen = best(groups.masked_fill(~kept[:, :, None], lowest).flatten(1), TOP_K)
    weights = scores.gather(1, chosen)
    return chosen, weights / (weights.sum(dim=1, keepdim=True) + 1e-20) * factor


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
    routing_bias,
    hidden_states,
    hidden_states_scale,
    gemm1_weights,
    gemm1_weights_scale,
    gemm2_weights,
    gemm2_weights_scale,
    local_expert_offset,
    routed_scaling_factor,
):
    logits, bias = routing_logits.to(torch.float32), routing_bias.to(torch.float32)
    chosen, weights = route(logits, bias, float(routed_scaling_factor))
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
