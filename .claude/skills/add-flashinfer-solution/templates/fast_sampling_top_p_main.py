"""Top-p sampling from probabilities without a sort of the vocabulary, in Triton.

Prediction for one H200 at a vocabulary of 128,256: the probabilities once at 4.2 TB/s and once
more from L2, three launches, 16 proposals a row: batch 1 16 us, 64 45 us.

Measured 2026-11-22, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets FlashInfer) by
`python tests/benchmarks/kernels.py --device cuda:0 --only top_p`, p from 0.1 to 1: batch 1 15.0 us
(38.8), 64 71 to 85 us (137). With p = 0.9 15.0 us (33.3), 49.7 us (79.6), and at batch 256 170 us
(129): there FlashInfer is faster, for both passes come from memory. A search for the threshold,
bit by bit, took 56 and 121 us.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object.
"""

import torch

from .kernels.sampling_top_p import sample_top_p


@torch.no_grad()
def run(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """probs [batch, vocabulary] float32, top_p [batch] float32 -> samples [batch] int64."""
    return sample_top_p(probs, top_p)
