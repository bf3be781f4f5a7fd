"""GQA decode over a paged KV cache with one token a page, in plain PyTorch.

The keys and values of several requests are gathered into one padded batch, which goes through
torch's scaled_dot_product_attention; the log-sum-exp comes from the same scores. The queries of one
KV head stand side by side as rows, so keys and values are never repeated for a query head.
"""

import math

import torch
import torch.nn.functional as F

NUM_QO_HEADS = 32
NUM_KV_HEADS = 8
HEAD_DIM = 128
CHUNK_TOKENS = 65536  # padded tokens of one step: bounds the memory that a large batch takes


def chunks(lengths: list[int]) -> list[tuple[int, int]]:
    """Ranges of requests whose padded tokens fit CHUNK_TOKENS (at least one request each)."""
    ranges, start, longest = [], 0, 0
    for i, length in enumerate(lengths):
        longest = max(longest, length)
        if i > start and longest * (i + 1 - start) > CHUNK_TOKENS:
            ranges.append((start, i))
            start, longest = i, length
    return [*ranges, (start, len(lengths))]


def gather(cache: torch.Tensor, tokens: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """[tokens, kv_heads, d] by index [b, n] -> [b, kv_heads, n, d] float32, 0 where not valid.

    Zeros, because a token that nobody asked for may hold NaN, and 0 * NaN is NaN.
    """
    picked = cache[tokens].transpose(1, 2).float()
    return picked.masked_fill(~valid[:, None, :, None], 0.0)


def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    valid: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """query [b, kv_heads, group, d], keys and values [b, kv_heads, n, d], valid [b, n] ->
    output [b, kv_heads, group, d], and the base-2 log-sum-exp [b, kv_heads, group]; a request
    without tokens gives 0 and -inf."""
    empty = ~valid.any(dim=1)[:, None, None, None]
    mask = valid[:, None, None, :]
    # A softmax over nothing is NaN: an empty request attends to everything, and is zeroed after.
    output = F.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask | empty, scale=sm_scale
    )
    scores = (query @ keys.transpose(2, 3)) * sm_scale
    lse = scores.masked_fill(~mask, -math.inf).logsumexp(dim=-1) / math.log(2.0)
    return output.masked_fill(empty, 0.0), lse


@torch.no_grad()
def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [batch, 32, 128], k_cache and v_cache [pages, 1, 8, 128], kv_indptr [batch + 1] and
    kv_indices [tokens] int32 -> output [batch, 32, 128] bfloat16, lse [batch, 32] float32."""
    batch = q.shape[0]
    k_tokens, v_tokens = k_cache.flatten(0, 1), v_cache.flatten(0, 1)
    query = q.float().view(batch, NUM_KV_HEADS, NUM_QO_HEADS // NUM_KV_HEADS, HEAD_DIM)
    starts = kv_indptr[:-1].long()
    counts = kv_indptr[1:].long() - starts
    output = torch.zeros_like(q)
    lse = torch.full((batch, NUM_QO_HEADS), -math.inf, dtype=torch.float32, device=q.device)
    lengths = counts.tolist()
    for first, last in chunks(lengths):
        width = max(lengths[first:last], default=0)
        if width == 0:
            continue
        position = torch.arange(width, device=q.device)
        valid = position < counts[first:last, None]
        slot = torch.where(valid, starts[first:last, None] + position, 0)
        token = torch.where(valid, kv_indices[slot].long(), 0)
        keys, values = gather(k_tokens, token, valid), gather(v_tokens, token, valid)
        part, part_lse = attend(query[first:last], keys, values, valid, sm_scale)
        output[first:last] = part.flatten(1, 2).to(q.dtype)
        lse[first:last] = part_lse.flatten(1, 2)
    return output, lse
