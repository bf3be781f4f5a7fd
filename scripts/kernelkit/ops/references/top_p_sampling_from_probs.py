"""Top-p sampling: draw from the likeliest tokens, cut where their mass reaches p.

The token that crosses p is kept; p <= 0 keeps the likeliest token only (of tied ones that of lower
id), p >= 1 filters nothing.
"""

import torch


def filtered(probs, top_p):
    """The distribution drawn from, by falling probability, and its tokens: [rows, vocab]."""
    vocab = probs.shape[1]
    values, tokens = torch.sort(probs.to(torch.float32), dim=1, descending=True, stable=True)
    rank = torch.arange(vocab, device=probs.device)
    values = values / values.sum(dim=1, keepdim=True)
    before = values.cumsum(dim=1) - values
    p = top_p[:, None]
    values = values.masked_fill((before >= p) & (rank > 0) & (p < 1.0), 0.0)
    return values / values.sum(dim=1, keepdim=True), tokens


@torch.no_grad()
def run(probs, top_p):
    values, tokens = filtered(probs, top_p)
    return tokens.gather(1, torch.multinomial(values, 1)).squeeze(1)
