"""Paged GQA decode, one token a page: requests padded to one batch, grouped matrix products."""

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
    keys = k_cache[pages, 0].transpose(1, 2).float()
    values = v_cache[pages, 0].transpose(1, 2).float()
    grouped = q.float().view(batch, kv_heads, heads // kv_heads, dim)
    logits = (grouped @ keys.transpose(2, 3)) * sm_scale
    logits = logits.masked_fill(~valid[:, None, None], -math.inf)
    lse = logits.logsumexp(dim=-1)
    safe = lse.nan_to_num(neginf=0.0)[..., None]
    output = torch.exp(logits - safe) @ values
    return output.reshape(q.shape).to(q.dtype), (lse / math.log(2)).reshape(batch, heads)
