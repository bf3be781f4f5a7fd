"""MLA decode over a paged latent cache with one token a page: keys are [ckv, kpe], values are ckv.

q_nope is absorbed (already multiplied by the key up-projection). Requests are padded to the longest
of a chunk; a chunk holds at most CHUNK_TOKENS tokens, or one request that is longer.
"""

import math

import torch

CHUNK_TOKENS = 65536


def chunks(lengths):
    """Ranges of requests whose padded tokens fit CHUNK_TOKENS (at least one request each)."""
    ranges, start, longest = [], 0, 0
    for i, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if i > start and longest * (i + 1 - start) > CHUNK_TOKENS:
            ranges.append((start, i))
            start, longest = i, length
    return ranges + [(start, len(lengths))]


@torch.no_grad()
def run(q_nope, q_pe, ckv_cache, kpe_cache, kv_indptr, kv_indices, sm_scale):
    batch, heads, rank = q_nope.shape
    ckv_tokens, kpe_tokens = ckv_cache.flatten(0, 1), kpe_cache.flatten(0, 1)
    q = torch.cat([q_nope, q_pe], dim=-1).to(torch.float32)
    starts = kv_indptr[:-1].long()
    lengths = kv_indptr[1:].long() - starts
    output = torch.zeros_like(q_nope)
    lse = torch.full((batch, heads), -math.inf, dtype=torch.float32, device=q.device)
    for first, last in chunks(lengths):
        width = int(lengths[first:last].max()) if last > first else 0
        if width == 0:
            continue
        position = torch.arange(width, device=q.device)
        valid = position < lengths[first:last, None]
        slot = torch.where(valid, starts[first:last, None] + position, 0)
        token = torch.where(valid, kv_indices[slot].long(), 0)
        k = torch.cat([ckv_tokens[token], kpe_tokens[token]], dim=-1).to(torch.float32)
        k = k.masked_fill(~valid[..., None], 0.0)
        logits = torch.matmul(q[first:last], k.transpose(1, 2)) * sm_scale
        logits = logits.masked_fill(~valid[:, None], -math.inf)
        log = torch.logsumexp(logits, dim=-1)
        weights = torch.exp(logits - log.nan_to_num(neginf=0.0)[..., None])
        output[first:last] = torch.matmul(weights, k[..., :rank]).to(q_nope.dtype)
        lse[first:last] = log / math.log(2.0)
    return output, lse
