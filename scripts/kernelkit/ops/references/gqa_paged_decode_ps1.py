"""GQA decode over a paged KV cache with one token a page: kv_indices are token ids.

Requests are padded to the longest of a chunk; a chunk holds at most CHUNK_TOKENS tokens, or one
request that is longer.
"""

import math

import torch

CHUNK_TOKENS = 8192


def chunks(lengths):
    """Ranges of requests whose padded tokens fit CHUNK_TOKENS (at least one request each)."""
    ranges, start, longest = [], 0, 0
    for i, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if i > start and longest * (i + 1 - start) > CHUNK_TOKENS:
            ranges.append((start, i))
            start, longest = i, length
    return ranges + [(start, len(lengths))]


def attend(q, k, v, valid, sm_scale):
    """q [b, kv, g, d], k and v [b, kv, n, d], valid [b, n] -> output [b, kv, g, d], lse base 2."""
    logits = torch.matmul(q, k.transpose(2, 3)) * sm_scale
    logits = logits.masked_fill(~valid[:, None, None, :], -math.inf)
    lse = torch.logsumexp(logits, dim=-1)
    weights = torch.exp(logits - lse.nan_to_num(neginf=0.0)[..., None])
    return torch.matmul(weights, v), lse / math.log(2.0)


def by_head(tokens, valid):
    """[b, n, kv, d] in any dtype -> [b, kv, n, d] float32, zero where not valid [b, n]."""
    heads = tokens.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return heads.masked_fill_(~valid[:, None, :, None], 0.0)


@torch.no_grad()
def run(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale):
    batch, heads, dim = q.shape
    kv_heads = k_cache.shape[2]
    k_tokens, v_tokens = k_cache.flatten(0, 1), v_cache.flatten(0, 1)
    grouped = q.to(torch.float32).view(batch, kv_heads, heads // kv_heads, dim)
    starts = kv_indptr[:-1].long()
    lengths = kv_indptr[1:].long() - starts
    output = torch.zeros(batch, heads, dim, dtype=q.dtype, device=q.device)
    lse = torch.full((batch, heads), -math.inf, dtype=torch.float32, device=q.device)
    for first, last in chunks(lengths):
        width = int(lengths[first:last].max()) if last > first else 0
        if width == 0:
            continue
        position = torch.arange(width, device=q.device)
        valid = position < lengths[first:last, None]
        slot = torch.where(valid, starts[first:last, None] + position, 0)
        token = torch.where(valid, kv_indices[slot].long(), 0)
        k, v = by_head(k_tokens[token], valid), by_head(v_tokens[token], valid)
        out, log2 = attend(grouped[first:last], k, v, valid, sm_scale)
        output[first:last] = out.flatten(1, 2).to(q.dtype)
        lse[first:last] = log2.flatten(1, 2)
    return output, lse
