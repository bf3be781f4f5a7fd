"""Sampling by sorting."""

from __future__ import annotations

import torch

from .sampling import draw, filtered


def run(probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    return draw(*filtered(probs, top_k, top_p))
