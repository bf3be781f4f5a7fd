"""Mixture of experts: routing in torch, experts by flashinfer.fused_moe.cutlass_fused_moe.

The functions that FlashInfer names for these definitions (trtllm_*) need sm_100; on sm_90 it is the
CUTLASS kernel. It takes the experts of each token, so the routing is computed before it.

The kernel divides experts over ranks in equal parts; where a rank's first expert is no multiple of
its share, other ranks' experts are computed as one of its own, with the weight 0.
"""

import torch
from flashinfer.fused_moe import cutlass_fused_moe

ROUTING = "renorm"
TOP_K = 8
NUM_EXPERTS = 8  # of all ranks
N_GROUP = 1
TOPK_GROUP = 1


def highest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the `count` highest of each row; of equal ones the lower place first."""
    return torch.sort(scores, dim=1, descending=True, stable=True)[1][:, :count]


def grouped_scores(scores: torch.Tensor) -> torch.Tensor:
    """Scores [tokens, experts] with -inf for experts outside the TOPK_GROUP best groups, a group
    being worth its two best experts together."""
    groups = scores.view(scores.shape[0], N_GROUP, -1)
    worth = groups.topk(min(2, groups.shape[2]), dim=2)[0].sum(dim=2)
    allowed = torch.zeros_like(worth).scatter(1, highest(worth, TOPK_GROUP), 1.0)
    return groups.masked_fill(allowed[:, :, None] == 0, -torch.inf).flatten(1)


def route(
    logits: torch.Tensor, bias: torch.Tensor | None, factor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Experts [tokens, TOP_K] int64 and their weights in float32."""
    logits = logits.to(torch.float32)
    if ROUTING == "ds":
        return route_by_scores(logits.sigmoid(), bias, factor)
    return route_by_logits(logits if bias is None else logits + bias)


def route_by_scores(
    scores: torch.Tensor, bias: torch.Tensor | None, factor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """DeepSeek-V3's: the bias chooses experts, and is no part of their weights."""
    chosen = highest(grouped_scores(scores if bias is None else scores + bias), TOP_K)
    weights = scores.gather(1, chosen)
    return chosen, weights * (factor / (weights.sum(dim=1, keepdim=True) + 1e-20))


def route_by_logits(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All others: a function of the highest logits."""
    chosen = highest(logits, TOP_K)
    values = logits.gather(1, chosen)
    if ROUTING == "llama4":
        return chosen, values.sigmoid()
    if ROUTING == "topk":
        return chosen, torch.full_like(values, 1.0 / TOP_K)
    if ROUTING == "default":
        return chosen, torch.exp(values - logits.logsumexp(dim=1, keepdim=True))
    return chosen, values.softmax(dim=1)  # renorm; renorm_naive is the same number


def experts(
    x: torch.Tensor,
    chosen: torch.Tensor,
    weights: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
    first: int,
    scales: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """x [tokens, hidden] in 16 bits, local experts' weights [experts, 2 inner, hidden] ([up; gate])
    and [experts, hidden, inner] -> [tokens, hidden] like x. `scales`: of float8 blocks."""
    local = gemm1_weights.shape[0]
    size, rank = NUM_EXPERTS // local, first // local
    if first % local or NUM_EXPERTS % local:
        size, rank, chosen = 1, 0, chosen - first
        outside = (chosen < 0) | (chosen >= local)
        chosen, weights = chosen.masked_fill(outside, 0), weights.masked_fill(outside, 0.0)
    output = torch.empty_like(x)
    if not x.shape[0]:
        return output
    with torch.cuda.device_of(x):
        cutlass_fused_moe(
            x,
            chosen.to(torch.int32),
            weights.to(torch.float32),
            gemm1_weights,
            gemm2_weights,
            x.dtype,
            quant_scales=scales,
            ep_size=size,
            ep_rank=rank,
            output=output,
            use_deepseek_fp8_block_scale=scales is not None,
        )
    return output
