"""DSA's top-k indexer in plain PyTorch, request by request over the tokens that it has.

FlashInfer has no indexer for sm_90, and SGLang's is DeepGEMM's, which is compiled for one machine.
No padded token is read: the cost follows the lengths. The lengths are read on the host.
"""

import torch

TOPK = 2048
INDEX_HEAD_DIM = 128
PAGE_SIZE = 64


def unpacked(cache: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A cache [pages, page_size, 1, dim + 4] int8, whose pages hold all keys and then all scales,
    as keys [pages, page_size, dim] float8 and scales [pages, page_size] float32."""
    pages = cache.contiguous().view(torch.uint8).view(cache.shape[0], -1)
    keys, scales = pages.split([PAGE_SIZE * INDEX_HEAD_DIM, PAGE_SIZE * 4], dim=1)
    keys = keys.contiguous().view(torch.float8_e4m3fn).view(-1, PAGE_SIZE, INDEX_HEAD_DIM)
    return keys, scales.contiguous().view(torch.float32)


def compute(
    q_index_fp8: torch.Tensor,
    k_index_cache_fp8: torch.Tensor,
    weights: torch.Tensor,
    seq_lens: torch.Tensor,
    block_table: torch.Tensor,
) -> torch.Tensor:
    """q_index_fp8 [batch, heads, dim], weights [batch, heads], block_table [batch, pages] ->
    topk_indices [batch, TOPK] int32, -1 behind the last."""
    keys, scales = unpacked(k_index_cache_fp8)
    offset = torch.arange(PAGE_SIZE, dtype=torch.int32, device=block_table.device)
    result = torch.full((weights.shape[0], TOPK), -1, dtype=torch.int32, device=block_table.device)
    for request, length in enumerate(seq_lens.tolist()):
        table = block_table[request, : -(-length // PAGE_SIZE)]
        rows = table.long()
        logits = (
            q_index_fp8[request].to(torch.float32) @ keys[rows].to(torch.float32).flatten(0, 1).T
        )
        scores = weights[request] @ (logits * scales[rows].flatten()).relu()
        best = scores[:length].topk(min(TOPK, length))[1]
        slots = (table[:, None] * PAGE_SIZE + offset).flatten()
        result[request, : best.shape[0]] = slots[best]
    return result
