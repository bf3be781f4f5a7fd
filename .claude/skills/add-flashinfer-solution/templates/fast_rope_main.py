"""Rotary embedding of q and k in one Triton launch, several heads of one token a program.

Prediction for one H200 (4,277 GB/s of a copy, 2 us for a launch, 1 us for each of the three trips
to memory that wait for one another: position, row of the cache, store) at 32 + 8 heads of 128, 64
of them turned (20.7 KB a token): 1 to 64 tokens 5 us, 1,024 tokens 9 us, 4,096 tokens 24 us (85 MB;
of a cache of 8,192 positions at most 2 MB is read anew).

Measured 2026-11-22, H200 (torch 2.11, Triton 3.6; in brackets FlashInfer 0.6.12) by `python
tests/benchmarks/kernels.py --device cuda:0 --only rope`: 1 token 5.6 us (5.8), 64 6.4 us (6.4),
4,096 28.5 us (30.2). Nothing was tuned.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.rope import rotate

HEAD_SIZE = 128
ROTARY_DIM = 64
NEOX = True

TUNING = {
    "size": "num_tokens",
    "parameters": {
        "BLOCK_HEADS": [4, 8, 16, 32],
        "num_warps": [1, 2, 4],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 64,
        "BLOCK_HEADS": 4,
        "num_warps": 1,
    },
    {
        "up_to": None,
        "BLOCK_HEADS": 8,
        "num_warps": 2,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many tokens."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q: torch.Tensor, k: torch.Tensor, cos_sin_cache: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """q and k [tokens, heads, 128], cos_sin_cache [positions, 64], positions [tokens] ->
    q_out and k_out in the shapes of q and k."""
    return rotate(q, k, cos_sin_cache, positions, ROTARY_DIM, NEOX, **tuned(q.shape[0]))
