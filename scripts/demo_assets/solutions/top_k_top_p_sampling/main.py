"""Top-k then top-p sampling: sort only the k candidates, not the whole vocabulary."""

import torch


@torch.no_grad()
def run(probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    vocab = probs.shape[1]
    limits = torch.where(top_k > 0, top_k, vocab).clamp(max=vocab)
    width = int(limits.max()) if limits.numel() else 1
    values, tokens = probs.topk(width, dim=1)
    ranks = torch.arange(width, device=probs.device)
    values = values.masked_fill(ranks >= limits[:, None], 0.0)
    values = values / values.sum(dim=1, keepdim=True)
    before = values.cumsum(dim=1) - values  # the mass ahead of each candidate
    values = values.masked_fill((before >= top_p[:, None]) & (ranks > 0), 0.0)
    chosen = torch.multinomial(values, 1)
    return tokens.gather(1, chosen).squeeze(1)
