"""Paged GQA decode: the requests' keys and values padded to one batch, then torch's attention."""

import math

import torch
import torch.nn.functional as F


@torch.no_grad()
def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    batch, heads, dim = q.shape
    kv_heads = k_cache.shape[2]
    start = kv_indptr[:-1].long()
    lengths = kv_indptr[1:].long() - start
    longest = max(int(lengths.max()), 1) if batch else 1
    slots = torch.arange(longest, device=q.device)
    valid = slots < lengths[:, None]
    pages = F.pad(kv_indices.long(), (0, 1))[torch.where(valid, start[:, None] + slots, -1)]
    keys = k_cache[pages, 0].float().transpose(1, 2)  # [batch, kv_heads, longest, dim]
    values = v_cache[pages, 0].float().transpose(1, 2)
    query = q.float().view(batch, kv_heads, heads // kv_heads, dim)

    mask = valid[:, None, None]
    safe = mask | ~valid.any(dim=1)[:, None, None, None]  # an empty request attends to anything
    output = F.scaled_dot_product_attention(query, keys, values, attn_mask=safe, scale=sm_scale)
    output = output.masked_fill(~valid.any(dim=1)[:, None, None, None], 0.0)
    scores = (query @ keys.transpose(2, 3)) * sm_scale
    lse = scores.masked_fill(~mask, -math.inf).logsumexp(dim=-1) / math.log(2)
    return output.reshape(q.shape).to(q.dtype), lse.reshape(batch, heads)
