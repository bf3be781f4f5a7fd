"""Honest sampling after top-k and top-p filters, for entries that cheat about when it runs."""

from __future__ import annotations

import torch


def filtered(
    probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of the kept probabilities from the likeliest on, and the tokens: [rows, vocabulary]."""
    values, tokens = probs.sort(dim=1, descending=True, stable=True)
    rank, vocabulary = torch.arange(probs.shape[1], device=probs.device), probs.shape[1]
    kept = top_k.where((top_k >= 1) & (top_k <= vocabulary), vocabulary)[:, None]
    values = values.masked_fill(rank >= kept, 0.0)
    values = values / values.sum(dim=1, keepdim=True)
    values = values.masked_fill(values.cumsum(1) - values >= top_p[:, None], 0.0)
    return values.cumsum(dim=1), tokens


def draw(sums: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """One token a row."""
    points = torch.rand(len(sums), 1, device=sums.device) * sums[:, -1:]
    places = torch.searchsorted(sums, points, right=True).clamp(max=sums.shape[1] - 1)
    return tokens.gather(1, places)[:, 0]
