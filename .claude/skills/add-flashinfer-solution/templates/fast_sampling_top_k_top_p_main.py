"""Top-k, then top-p sampling from probabilities without a sort of the vocabulary, in Triton.

Prediction for one H200 at a vocabulary of 128,256: the probabilities once at 4.2 TB/s (8 us at
batch 64, 1 us at batch 1), then about 8 us of dependent steps in each row's last program,
and 5 us for three launches that find nothing to do.

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets FlashInfer) by
`python tests/benchmarks/kernels.py --device cuda:0 --only sampling`: batch 1 35.9 us (85.7), 8
35.9 us (129.4), 64 49.3 us (213.4), 256 102 us (460): 2.4, 3.6, 4.3 and 4.5 times as fast, and
two to four times the prediction.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object.
"""

import torch

from .kernels.sampling import sample


@torch.no_grad()
def run(probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """probs [batch, vocabulary], top_k, top_p [batch] -> samples [batch] int64."""
    return sample(probs, top_k, top_p)
