"""Mamba-2 selective state update in one Triton kernel; the new pool is written as it is computed.

Prediction for one H200 (4.2 TB/s, 2 us for a launch, 1.5 us for a trip to memory and the sums) at
64 heads of 64, state size 128, bfloat16, a pool as large as the batch: 1 MiB a request each way:
batch 1 4 us, batch 64 35 us, batch 256 130 us. A pool of other slots costs 2 MiB for each, for the
definition returns all of it.

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets FlashInfer on a
copy of the pool) by `python tests/benchmarks/kernels.py --device cuda:0 --only mamba`: batch 1
6.8 us (26.5), 64 43.9 us (95.7), 256 159.7 us (295.8; 73 % of the bandwidth). The parameters are
guesses: nothing was tuned yet.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.mamba_decode import mamba_decode

TUNING = {
    "size": "batch_size",
    "parameters": {
        "BLOCK_DIM": [4, 8, 16, 32, 64],
        "num_warps": [1, 2, 4, 8],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 2,
        "BLOCK_DIM": 16,
        "num_warps": 4,
    },
    {
        "up_to": None,
        "BLOCK_DIM": 32,
        "num_warps": 4,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many requests."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    state: torch.Tensor,
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    dt_bias: torch.Tensor,
    state_batch_indices: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """state [slots, heads, dim, size], x, dt [batch, heads, dim], A [heads, dim, size], B, C
    [batch, groups, size], D, dt_bias [heads, dim] -> output like x, new_state like state.

    A, dt, D and dt_bias have one value a head, as the definition says: only that is read.
    """
    parameters = tuned(x.shape[0])
    inputs = (state, x, dt, A, B, C, D, dt_bias, state_batch_indices)
    return mamba_decode(*inputs, **parameters)
