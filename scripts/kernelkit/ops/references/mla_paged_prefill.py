"""MLA prefill over a paged latent cache, causal: keys are [ckv, kpe], values are ckv.

kv_indices are page ids; the last page may be partly full.
q_nope is absorbed. The mask is bottom-right: query i of a request sees keys up to
i + kv_len - q_len. A chunk of requests holds at most CHUNK_LOGITS padded logits.
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


@torch.no_grad()
def run(
    q_nope, q_pe, ckv_cache, kpe_cache, qo_indptr, kv_indptr, kv_indices, kv_last_page_len, sm_scale
):
    heads, rank = q_nope.shape[1:]
    ckv_tokens, kpe_tokens = ckv_cache.flatten(0, 1), kpe_cache.flatten(0, 1)
    q = torch.cat([q_nope, q_pe], dim=-1).to(torch.float32)
    q_starts, kv_starts = qo_indptr[:-1].long(), kv_indptr[:-1].long()
    q_lens = qo_indptr[1:].long() - q_starts
    page_size = ckv_cache.shape[1]
    pages = kv_indptr[1:].long() - kv_starts
    kv_lens = torch.where(pages > 0, (pages - 1) * page_size + kv_last_page_len.long(), 0)
    output = torch.zeros_like(q_nope)
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
        k = torch.cat([ckv_tokens[token], kpe_tokens[token]], dim=-1).to(torch.float32)
        k = k.masked_fill(~kv_valid[..., None], 0.0)
        logits = torch.matmul(q[row].flatten(1, 2), k.transpose(1, 2)) * sm_scale
        seen = kv_valid[:, None] & (j <= (i + kv_len - q_len)[..., None])
        logits = logits.unflatten(1, (-1, heads)).masked_fill(~seen[:, :, None], -math.inf)
        log = torch.logsumexp(logits, dim=-1)
        weights = torch.exp(logits - log.nan_to_num(neginf=0.0)[..., None])
        out = torch.matmul(weights.flatten(1, 2), k[..., :rank]).unflatten(1, (-1, heads))
        output[row[q_valid]] = out[q_valid].to(q_nope.dtype)
        lse[row[q_valid]] = log[q_valid] / math.log(2.0)
    return output, lse
