"""Top-k sampling: draw from the k likeliest tokens.

top_k outside 1..vocabulary filters nothing; of tied tokens the one of lower id is kept.
"""

import torch


def filtered(probs, top_k):
    """The distribution drawn from, by falling probability, and its tokens: [rows, vocab]."""
    vocab = probs.shape[1]
    values, tokens = torch.sort(probs.to(torch.float32), dim=1, descending=True, stable=True)
    rank = torch.arange(vocab, device=probs.device)
    limit = torch.where((top_k <= 0) | (top_k > vocab), vocab, top_k)[:, None]
    values = values.masked_fill(rank >= limit, 0.0)
    return values / values.sum(dim=1, keepdim=True), tokens


@torch.no_grad()
def run(probs, top_k):
    values, tokens = filtered(probs, top_k)
    return tokens.gather(1, torch.multinomial(values, 1)).squeeze(1)
