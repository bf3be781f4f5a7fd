"""Sampling from probabilities by flashinfer.sampling: top-k, top-p, or top-k and then top-p.

A top_k outside 1..vocabulary filters nothing: it is set to the vocabulary, since FlashInfer says
nothing of such values. A top_p of 0 keeps the likeliest token: it is lifted a little, so that one
token is above it. FlashInfer draws from torch's generator of the device, and returns int32.
"""

import torch
from flashinfer.sampling import (
    top_k_sampling_from_probs,
    top_k_top_p_sampling_from_probs,
    top_p_sampling_from_probs,
)

VOCAB_SIZE = 128256
LEAST_P = 1e-06


def compute(
    probs: torch.Tensor,
    top_k: torch.Tensor | None = None,
    top_p: torch.Tensor | None = None,
) -> torch.Tensor:
    """probs [rows, vocabulary] float32, top_k [rows] int32, top_p [rows] float32 -> samples
    [rows] int64."""
    if not probs.shape[0]:
        return torch.empty(0, dtype=torch.int64, device=probs.device)
    if top_k is not None:
        top_k = torch.where((top_k < 1) | (top_k > VOCAB_SIZE), VOCAB_SIZE, top_k)
    if top_p is not None:
        top_p = top_p.clamp(min=LEAST_P, max=1.0)
    with torch.cuda.device_of(probs):
        if top_p is None:
            samples = top_k_sampling_from_probs(probs, top_k)
        elif top_k is None:
            samples = top_p_sampling_from_probs(probs, top_p)
        else:
            samples = top_k_top_p_sampling_from_probs(
                probs, top_k, top_p, filter_apply_order="top_k_first"
            )
    return samples.to(torch.int64)
