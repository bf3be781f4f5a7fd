"""Ragged causal GQA prefill: torch's attention, one request at a time."""

import math

import torch
import torch.nn.functional as F


@torch.no_grad()
def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], -math.inf, dtype=torch.float32, device=q.device)
    q_bounds, kv_bounds = qo_indptr.tolist(), kv_indptr.tolist()
    for i in range(len(q_bounds) - 1):
        rows = slice(q_bounds[i], q_bounds[i + 1])
        columns = slice(kv_bounds[i], kv_bounds[i + 1])
        if rows.start < rows.stop and columns.start < columns.stop:
            output[rows], lse[rows] = attend(q[rows], k[columns], v[columns], sm_scale)
    return output, lse


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, sm_scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """One request: the last query sees every key."""
    groups = q.shape[1] // k.shape[1]
    query = q.float().transpose(0, 1)
    keys = k.float().repeat_interleave(groups, dim=1).transpose(0, 1)
    values = v.float().repeat_interleave(groups, dim=1).transpose(0, 1)
    rows, columns = q.shape[0], k.shape[0]
    mask = torch.ones(rows, columns, dtype=torch.bool, device=q.device).tril(columns - rows)
    # A query before the first key has none: let it see all, then empty its result.
    sees = mask.any(dim=1)
    attended = F.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask | ~sees[:, None], scale=sm_scale
    )
    attended = attended.masked_fill(~sees[None, :, None], 0.0)
    scores = (query @ keys.transpose(1, 2) * sm_scale).masked_fill(~mask, -math.inf)
    lse = scores.logsumexp(dim=-1) / math.log(2)
    return attended.transpose(0, 1).to(q.dtype), lse.transpose(0, 1)
