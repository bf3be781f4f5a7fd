"""Paged GQA decode, one token a page: padded to one batch, torch's attention for the output."""

import math

import torch


@torch.no_grad()
def run(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale):
    batch, heads, dim = q.shape
    kv_heads = k_cache.shape[2]
    starts = kv_indptr[:-1].long()
    lengths = kv_indptr[1:].long() - starts
    position = torch.arange(int(lengths.max()), device=q.device)
    valid = position < lengths[:, None]
    pages = kv_indices[torch.where(valid, starts[:, None] + position, 0)].long()
    keys = k_cache[pages, 0].transpose(1, 2)
    values = v_cache[pages, 0].transpose(1, 2)
    grouped = q.view(batch, kv_heads, heads // kv_heads, dim)
    some = valid.any(dim=1)[:, None, None, None]
    mask = valid[:, None, None] | ~some
    output = torch.nn.functional.scaled_dot_product_attention(
        grouped, keys, values, attn_mask=mask, scale=sm_scale
    )
    output = output.masked_fill(~some, 0.0)
    logits = (grouped.float() @ keys.float().transpose(2, 3)) * sm_scale
    lse = logits.masked_fill(~valid[:, None, None], -math.inf).logsumexp(dim=-1)
    return output.reshape(q.shape), (lse / math.log(2)).reshape(batch, heads)
