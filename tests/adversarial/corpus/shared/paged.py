"""Honest paged decode attention, for entries that cheat about when it runs."""

from __future__ import annotations

import math

import torch


def attend(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [b, h, d], caches [pages, size, kv, d] -> output [b, h, d], lse [b, h] in base 2."""
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], -math.inf, dtype=torch.float32, device=q.device)
    group = q.shape[1] // k_cache.shape[2]
    starts = kv_indptr.tolist()
    for row, last in enumerate(kv_last_page_len.tolist()):
        pages = kv_indices[starts[row] : starts[row + 1]].long()
        count = (len(pages) - 1) * k_cache.shape[1] + last
        if len(pages) == 0 or count <= 0:
            continue
        k, v = (c[pages].flatten(0, 1)[:count].float() for c in (k_cache, v_cache))
        k, v = (t.repeat_interleave(group, dim=1) for t in (k, v))
        scores = torch.einsum("hd,nhd->hn", q[row].float(), k) * float(sm_scale)
        output[row] = torch.einsum("hn,nhd->hd", torch.softmax(scores, -1), v).to(q.dtype)
        lse[row] = torch.logsumexp(scores, -1) / math.log(2.0)
    return output, lse
