"""Top-k, then top-p sampling: draw from the k likeliest tokens, cut where their mass reaches p.

top_k outside 1..vocabulary filters nothing; of tied tokens the one of lower id is kept. top_p keeps
the token that crosses p; p <= 0 keeps the likeliest token only, p >= 1 filters nothing.
"""

import torch


def filtered(probs, top_k, top_p):
    """The distribution drawn from, by falling probability, and its tokens: [rows, vocab]."""
    vocab = probs.shape[1]
    values, tokens = torch.sort(probs.to(torch.float32), dim=1, descending=True, stable=True)
    rank = torch.arange(vocab, device=probs.device)
    limit = torch.where((top_k <= 0) | (top_k > vocab), vocab, top_k)[:, None]
    values = values.masked_fill(rank >= limit, 0.0)
    values = values / values.sum(dim=1, keepdim=True)
    before = values.cumsum(dim=1) - values
    p = top_p[:, None]
    values = values.masked_fill((before >= p) & (rank > 0) & (p < 1.0), 0.0)
    return values / values.sum(dim=1, keepdim=True), tokens


@torch.no_grad()
def run(probs, top_k, top_p):
    values, tokens = filtered(probs, top_k, top_p)
    return tokens.gather(1, torch.multinomial(values, 1)).squeeze(1)
