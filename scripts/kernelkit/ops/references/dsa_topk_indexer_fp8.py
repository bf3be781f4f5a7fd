"""The sparse-attention indexer: for each request, the TOPK cache slots of highest score.

score(token) = sum over heads of relu(q_h . k) * weight_h, with k dequantised by its own scale.
A page of the cache holds first the float8 keys of all its tokens, then their float32 scales, as
bytes in an int8 container. Indices are page * page_size + offset, by falling score (ties: the
earlier token first), -1 where a request has fewer than TOPK tokens.
"""

import torch

TOPK = 2048
CHUNK_TOKENS = 1 << 18


@torch.no_grad()
def run(q_index_fp8, k_index_cache_fp8, weights, seq_lens, block_table):
    batch, _, dim = q_index_fp8.shape
    pages, page_size = k_index_cache_fp8.shape[:2]
    raw = k_index_cache_fp8.reshape(pages, -1).contiguous().view(torch.uint8)
    keys = raw[:, : page_size * dim].contiguous().view(torch.float8_e4m3fn).view(pages, -1, dim)
    scales = raw[:, page_size * dim :].contiguous().view(torch.float32)
    width = block_table.shape[1] * page_size
    count = min(TOPK, width)
    position = torch.arange(width, device=weights.device)
    result = torch.full((batch, TOPK), -1, dtype=torch.int32, device=weights.device)
    # A few requests at a time: the dequantised keys of all of them may not fit.
    step = max(1, CHUNK_TOKENS // max(1, width))
    for first in range(0, batch, step):
        part = slice(first, first + step)
        valid = position < seq_lens[part, None]
        page = block_table[part].long().clamp(min=0)
        slot = page.repeat_interleave(page_size, dim=1) * page_size + position % page_size
        k = (keys[page].to(torch.float32) * scales[page][..., None]).flatten(1, 2)
        k = k.masked_fill(~valid[..., None], 0.0)
        per_head = torch.relu(torch.matmul(q_index_fp8[part].to(torch.float32), k.transpose(1, 2)))
        score = (per_head * weights[part, :, None]).sum(dim=1).masked_fill(~valid, float("-inf"))
        order = torch.sort(score, dim=1, descending=True, stable=True).indices[:, :count]
        chosen = torch.where(valid.gather(1, order), slot.gather(1, order), -1)
        result[part, :count] = chosen.to(torch.int32)
    return (result,)
