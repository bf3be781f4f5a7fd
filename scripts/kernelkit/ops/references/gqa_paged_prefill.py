"""GQA prefill over a paged KV cache, the last page partly full, causal.

The mask is bottom-right: query i of a request sees keys up to i + kv_len - q_len. Requests are
padded to the longest of a chunk; a chunk holds at most CHUNK_LOGITS logits, so that memory stays
bounded however long the requests are.
"""

import math

import torch

CHUNK_LOGITS = 1 << 28


def chunks(q_lens, kv_lens, heads):
    """Ranges of requests whose padded logits fit CHUNK_LOGITS (at least one request each)."""
    ranges, start, q_most, kv_most = [], 0, 0, 0
    for i, (q_len, kv_len) in enumerate(zip(q_lens.tolist(), kv_lens.tolist())):
        q_most, kv_most = max(q_most, q_len), max(kv_most, kv_len)
        if i > start and (i + 1 - start) * q_most * kv_most * heads > CHUNK_LOGITS:
            ranges.append((start, i))
            start, q_most, kv_most = i, q_len, kv_len
    return ranges + [(start, len(q_lens))]


def attend(q, k, v, seen, sm_scale):
    """q [b, m, kv, g, d], k and v [b, n, kv, *], seen [b, m, n] -> output, lse base 2."""
    b, m, kv, g, d = q.shape
    rows = q.permute(0, 2, 3, 1, 4).reshape(b, kv, g * m, d)
    logits = (torch.matmul(rows, k.permute(0, 2, 3, 1)) * sm_scale).view(b, kv, g, m, -1)
    logits = logits.masked_fill(~seen[:, None, None], -math.inf)
    lse = torch.logsumexp(logits, dim=-1)
    weights = torch.exp(logits - lse.nan_to_num(neginf=0.0)[..., None])
    out = torch.matmul(weights.flatten(2, 3), v.permute(0, 2, 1, 3)).view(b, kv, g, m, -1)
    lse = lse.permute(0, 3, 1, 2).flatten(2, 3) / math.log(2.0)
    return out.permute(0, 3, 1, 2, 4).flatten(2, 3), lse


@torch.no_grad()
def run(q, k_cache, v_cache, qo_indptr, kv_indptr, kv_indices, kv_last_page_len, sm_scale):
    heads, kv_heads = q.shape[1], k_cache.shape[2]
    k_tokens, v_tokens = k_cache.flatten(0, 1), v_cache.flatten(0, 1)
    q_starts, kv_starts = qo_indptr[:-1].long(), kv_indptr[:-1].long()
    q_lens = qo_indptr[1:].long() - q_starts
    page_size = k_cache.shape[1]
    pages = kv_indptr[1:].long() - kv_starts
    kv_lens = torch.where(pages > 0, (pages - 1) * page_size + kv_last_page_len.long(), 0)
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], -math.inf, dtype=torch.float32, device=q.device)
    for first, last in chunks(q_lens, kv_lens, heads):
        q_len, kv_len = q_lens[first:last, None], kv_lens[first:last, None]
        if last == first or q_len.max() == 0 or kv_len.max() == 0:
            continue
        i = torch.arange(int(q_len.max()), device=q.device)
        j = torch.arange(int(kv_len.max()), device=q.device)
        q_valid, kv_valid = i < q_len, j < kv_len
        row = torch.where(q_valid, q_starts[first:last, None] + i, 0)
        slot = torch.where(kv_valid, kv_starts[first:last, None] + j // page_size, 0)
        token = torch.where(kv_valid, kv_indices[slot].long() * page_size + j % page_size, 0)
        k = k_tokens[token].to(torch.float32).masked_fill(~kv_valid[..., None, None], 0.0)
        v = v_tokens[token].to(torch.float32).masked_fill(~kv_valid[..., None, None], 0.0)
        grouped = q[row].to(torch.float32).unflatten(2, (kv_heads, heads // kv_heads))
        seen = kv_valid[:, None] & (j <= (i + kv_len - q_len)[..., None])
        out, log2 = attend(grouped, k, v, seen, sm_scale)
        output[row[q_valid]] = out[q_valid].to(q.dtype)
        lse[row[q_valid]] = log2[q_valid]
    return output, lse
