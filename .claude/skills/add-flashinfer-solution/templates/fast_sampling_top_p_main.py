"""Top-p sampling from probabilities without a sort of the vocabulary, in Triton.

Prediction for one H200 at a vocabulary of 128,256: the probabilities once at 4.2 TB/s (8 us at
batch 64, 1 us at batch 1), then about 8 us of dependent steps in each row's last program;
rows with wide nuclei read theirs three times more from L2 (30 us in all at batch 64).

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets FlashInfer) by
`python tests/benchmarks/kernels.py --device cuda:0 --only sampling`: batch 1 56.5 us (42.0), 64
121 us (134), as against 30 predicted. FlashInfer is faster at batch 1.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object.
"""

import torch

from .kernels.sampling_top_p import sample_top_p


@torch.no_grad()
def run(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """probs [batch, vocabulary] float32, top_p [batch] float32 -> samples [batch] int64."""
    return sample_top_p(probs, top_p)
