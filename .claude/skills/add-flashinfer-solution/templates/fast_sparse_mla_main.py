"""Sparse MLA attention (DSA) in Triton: each token reads the slots it names, once for all heads.

Prediction for one H200 (4.2 TB/s, 2 us for each of two launches, 3 us of dependent reads, 2 us for
the merge) at 16 heads, 512 + 64 dims, 2,048 slots a token (2.4 MB): 1 token 9 us, 64 tokens 44 us,
1,024 tokens 570 us (one launch: nothing is split).

Measured 2026-11-22, H200 (torch 2.11, Triton 3.6; in brackets FlashInfer 0.6.12), each candidate of
the table alone by the clock of `scripts/tune_solution.py`: 1 token 15.6 us (24.3), 16 26.9 us
(26.3), 64 51.8 us (50.5), 1,024 454 us (470). Before blocks of 64 slots in chunks of 64 columns
(`latent_block`): 17.1, 31.3, 69.0 and 803 us.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.latent_block import fitting
from .kernels.sparse_mla import sparse_mla

TUNING = {
    "size": "num_tokens",
    "parameters": {
        "BLOCK_HEADS": [16, 32, 64],
        "BLOCK_TOKENS": [32, 64],
        "PROGRAMS_PER_SM": [1, 2],
        "CHUNK": [64, 128, 256, 512],
        "num_warps": [4, 8],
        "num_stages": [1, 3, 5, 7, 9],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": None,
        "BLOCK_HEADS": 16,
        "BLOCK_TOKENS": 64,
        "PROGRAMS_PER_SM": 2,
        "CHUNK": 64,
        "num_warps": 4,
        "num_stages": 3,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many tokens."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    sparse_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q_nope [tokens, h, ckv], q_pe [tokens, h, kpe], caches [pages, page size, dim],
    sparse_indices [tokens, topk], -1 is padding -> output like q_nope, lse [tokens, h] float32."""
    caches = ckv_cache, kpe_cache
    parameters = fitting(tuned(q_nope.shape[0]), q_nope.device)
    return sparse_mla(q_nope, q_pe, *caches, sparse_indices, sm_scale, **parameters)
