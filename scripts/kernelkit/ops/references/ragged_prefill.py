"""Prefill over ragged keys and values, causal; q and k may have another head dim than v.

The mask is bottom-right: query i of a request sees keys up to i + kv_len - q_len. Requests are
padded to the longest of a chunk. A chunk's keys and its logits hold at most CHUNK float32 each; a
request that alone has more logits is cut into blocks of queries, one with more keys is not.
"""

import math

import torch

CHUNK = 1 << 25


def chunks(q_lens, kv_lens, heads, width):
    """Ranges of requests whose padded keys and logits fit CHUNK (at least one request each)."""
    ranges, start, q_most, kv_most = [], 0, 0, 0
    for i, (q_len, kv_len) in enumerate(zip(q_lens.tolist(), kv_lens.tolist())):
        q_most, kv_most = max(q_most, q_len), max(kv_most, kv_len)
        if i > start and (i + 1 - start) * kv_most * max(q_most * heads, width) > CHUNK:
            ranges.append((start, i))
            start, q_most, kv_most = i, q_len, kv_len
    return ranges + [(start, len(q_lens))]


def attend(q, k, v, seen, sm_scale):
    """q [b, m, kv, g, d], k and v [b, kv, n, *], seen [b, m, n] -> output, lse base 2."""
    m, g = q.shape[1], q.shape[3]
    rows = q.permute(0, 2, 3, 1, 4).flatten(2, 3)
    logits = torch.matmul(rows, k.transpose(2, 3)).unflatten(2, (g, m)).mul_(sm_scale)
    logits = logits.masked_fill_(~seen[:, None, None], -math.inf)
    lse = torch.logsumexp(logits, dim=-1)
    weights = logits.sub_(lse.nan_to_num(neginf=0.0)[..., None]).exp_()
    out = torch.matmul(weights.flatten(2, 3), v).unflatten(2, (g, m))
    lse = lse.permute(0, 3, 1, 2).flatten(2, 3) / math.log(2.0)
    return out.permute(0, 3, 1, 2, 4).flatten(2, 3), lse


def by_head(tokens, valid):
    """[b, n, kv, d] in any dtype -> [b, kv, n, d] float32, zero where not valid [b, n]."""
    heads = tokens.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return heads.masked_fill_(~valid[:, None, :, None], 0.0)


@torch.no_grad()
def run(q, k, v, qo_indptr, kv_indptr, sm_scale):
    heads, kv_heads = q.shape[1], k.shape[1]
    q_starts, kv_starts = qo_indptr[:-1].long(), kv_indptr[:-1].long()
    q_lens = qo_indptr[1:].long() - q_starts
    kv_lens = kv_indptr[1:].long() - kv_starts
    output = torch.zeros(*q.shape[:2], v.shape[2], dtype=q.dtype, device=q.device)
    lse = torch.full(q.shape[:2], -math.inf, dtype=torch.float32, device=q.device)
    for first, last in chunks(q_lens, kv_lens, heads, kv_heads * q.shape[2]):
        q_len, kv_len = q_lens[first:last, None], kv_lens[first:last, None]
        if last == first or q_len.max() == 0 or kv_len.max() == 0:
            continue
        rows, width = int(q_len.max()), int(kv_len.max())
        j = torch.arange(width, device=q.device)
        kv_valid = j < kv_len
        token = torch.where(kv_valid, kv_starts[first:last, None] + j, 0)
        keys, values = by_head(k[token], kv_valid), by_head(v[token], kv_valid)
        block = max(1, CHUNK // ((last - first) * width * heads))
        reach = int((kv_len - q_len).max())
        for start in range(0, rows, block):
            i = torch.arange(start, min(start + block, rows), device=q.device)
            n = min(width, max(1, start + len(i) + reach))  # no later key is seen in this block
            q_valid = i < q_len
            row = torch.where(q_valid, q_starts[first:last, None] + i, 0)
            seen = kv_valid[:, None, :n] & (j[:n] <= (i + kv_len - q_len)[..., None])
            grouped = q[row].to(torch.float32).unflatten(2, (kv_heads, heads // kv_heads))
            out, log2 = attend(grouped, keys[:, :, :n], values[:, :, :n], seen, sm_scale)
            output[row[q_valid]] = out[q_valid].to(q.dtype)
            lse[row[q_valid]] = log2[q_valid]
    return output, lse
