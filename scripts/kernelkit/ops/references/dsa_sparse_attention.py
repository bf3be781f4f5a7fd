"""Sparse MLA attention: each token attends to the cache slots that sparse_indices names.

An index is page * page_size + offset; -1 is padding. Keys are [ckv, kpe], values are ckv; q_nope is
absorbed. Tokens are taken CHUNK_TOKENS at a time, so that memory stays bounded.
"""

import math

import torch

CHUNK_TOKENS = 32


@torch.no_grad()
def run(q_nope, q_pe, ckv_cache, kpe_cache, sparse_indices, sm_scale):
    rank = q_nope.shape[2]
    ckv_tokens, kpe_tokens = ckv_cache.flatten(0, 1), kpe_cache.flatten(0, 1)
    output = torch.zeros_like(q_nope)
    lse = torch.full(q_nope.shape[:2], -math.inf, dtype=torch.float32, device=q_nope.device)
    for first in range(0, q_nope.shape[0], CHUNK_TOKENS):
        part = slice(first, first + CHUNK_TOKENS)
        valid = sparse_indices[part] >= 0
        token = sparse_indices[part].long().clamp(min=0)
        k = torch.cat([ckv_tokens[token], kpe_tokens[token]], dim=-1).to(torch.float32)
        k = k.masked_fill(~valid[..., None], 0.0)
        q = torch.cat([q_nope[part], q_pe[part]], dim=-1).to(torch.float32)
        logits = torch.matmul(q, k.transpose(1, 2)) * sm_scale
        logits = logits.masked_fill(~valid[:, None], -math.inf)
        log = torch.logsumexp(logits, dim=-1)
        weights = torch.exp(logits - log.nan_to_num(neginf=0.0)[..., None])
        output[part] = torch.matmul(weights, k[..., :rank]).to(q_nope.dtype)
        lse[part] = log / math.log(2.0)
    return output, lse
