"""Ground truth of the top-k indexer: the scores of all cached tokens, by position, [batch, width].

-inf where a request has no token.
"""

from __future__ import annotations

import math

import torch

Tensors = dict[str, torch.Tensor]


def torch_scores(inputs: Tensors) -> torch.Tensor:
    """sum over heads of relu(q_h . k) * weight_h in float64, request by request."""
    cache, table = inputs["k_index_cache_fp8"], inputs["block_table"].long()
    pages, size, _, wide = cache.shape
    raw = cache.reshape(pages, size * wide).view(torch.uint8)
    keys = raw[:, : size * (wide - 4)].contiguous().view(torch.float8_e4m3fn)
    scales = raw[:, size * (wide - 4) :].contiguous().view(torch.float32)
    scores = torch.full((len(table), table.shape[1] * size), -math.inf, dtype=torch.float64)
    for request, length in enumerate(inputs["seq_lens"].tolist()):
        used = table[request, : -(-length // size)]
        k = keys[used].double().view(-1, wide - 4) * scales[used].double().view(-1, 1)
        heads = (inputs["q_index_fp8"][request].double() @ k[:length].T).clamp(min=0.0)
        weighted = heads * inputs["weights"][request].double()[:, None]
        scores[request, :length] = weighted.sum(dim=0).cpu()
    return scores.to(table.device)


def deep_gemm_scores(inputs: Tensors) -> torch.Tensor:
    """deep_gemm.fp8_paged_mqa_logits, which SGLang's indexer calls."""
    import deep_gemm

    cache, table = inputs["k_index_cache_fp8"], inputs["block_table"]
    size, lengths = cache.shape[1], inputs["seq_lens"][:, None].contiguous()
    width = table.shape[1] * size
    processors = torch.cuda.get_device_properties(table.device).multi_processor_count
    plan = deep_gemm.get_paged_mqa_logits_metadata(lengths, size, processors)
    logits = deep_gemm.fp8_paged_mqa_logits(
        inputs["q_index_fp8"][:, None],
        cache.view(torch.uint8),
        inputs["weights"],
        lengths,
        table,
        plan,
        width,
        clean_logits=False,
    )
    seen = torch.arange(width, device=table.device) < lengths
    return logits[:, :width].double().masked_fill(~seen, -math.inf)
