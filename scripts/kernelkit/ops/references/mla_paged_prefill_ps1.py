"""MLA prefill over a paged latent cache, causal: keys are [ckv, kpe], values are ckv.

A page holds one token: kv_indices are token ids.
q_nope is absorbed. The mask is bottom-right: query i of a request sees keys up to
i + kv_len - q_len. Requests are padded to the longest of a chunk. A chunk's keys and its logits
hold at most CHUNK float32 each; a request that alone has more logits is cut into blocks of queries,
one with more keys is not.
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


@torch.no_grad()
def run(q_nope, q_pe, ckv_cache, kpe_cache, qo_indptr, kv_indptr, kv_indices, sm_scale):
    heads, rank = q_nope.shape[1:]
    ckv_tokens, kpe_tokens = ckv_cache.flatten(0, 1), kpe_cache.flatten(0, 1)
    q = torch.cat([q_nope, q_pe], dim=-1).to(torch.float32)
    q_starts, kv_starts = qo_indptr[:-1].long(), kv_indptr[:-1].long()
    q_lens = qo_indptr[1:].long() - q_starts
    kv_lens = kv_indptr[1:].long() - kv_starts
    output = torch.zeros_like(q_nope)
    lse = torch.full(q.shape[:2], -math.inf, dtype=torch.float32, device=q.device)
    for first, last in chunks(q_lens, kv_lens, heads, q.shape[2]):
        q_len, kv_len = q_lens[first:last, None], kv_lens[first:last, None]
        if last == first or q_len.max() == 0 or kv_len.max() == 0:
            continue
        rows, width = int(q_len.max()), int(kv_len.max())
        j = torch.arange(width, device=q.device)
        kv_valid = j < kv_len
        slot = torch.where(kv_valid, kv_starts[first:last, None] + j, 0)
        token = torch.where(kv_valid, kv_indices[slot].long(), 0)
        keys = torch.cat([ckv_tokens[token], kpe_tokens[token]], dim=-1).to(torch.float32)
        keys = keys.masked_fill_(~kv_valid[..., None], 0.0)
        block = max(1, CHUNK // ((last - first) * width * heads))
        reach = int((kv_len - q_len).max())
        for start in range(0, rows, block):
            i = torch.arange(start, min(start + block, rows), device=q.device)
            n = min(width, max(1, start + len(i) + reach))  # no later key is seen in this block
            q_valid = i < q_len
            row = torch.where(q_valid, q_starts[first:last, None] + i, 0)
            seen = kv_valid[:, None, :n] & (j[:n] <= (i + kv_len - q_len)[..., None])
            logits = torch.matmul(q[row].flatten(1, 2), keys[:, :n].transpose(1, 2)).mul_(sm_scale)
            logits = logits.unflatten(1, (-1, heads)).masked_fill_(~seen[:, :, None], -math.inf)
            log = torch.logsumexp(logits, dim=-1)
            weights = logits.sub_(log.nan_to_num(neginf=0.0)[..., None]).exp_().flatten(1, 2)
            out = torch.matmul(weights, keys[:, :n, :rank]).unflatten(1, (-1, heads))
            output[row[q_valid]] = out[q_valid].to(q_nope.dtype)
            lse[row[q_valid]] = log[q_valid] / math.log(2.0)
    return output, lse
