"""GDN decode in one Triton kernel, gates included; states stored k last ([V, K]).

Prediction for one H200 (4.2 TB/s, 2 us for a launch, 1.5 us for a trip to memory and the sums) at
16 key and 32 value heads of 128: batch 1 4 us, batch 32 35 us, batch 128 131 us (a state is read
and written: 128 KiB a head).

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12, FLA 0.5.0; in brackets
FLA, then FlashInfer) by `python tests/benchmarks/kernels.py --device cuda:0 --only gdn`: batch 1
5.4 us (10.4, 10.5), 32 38.8 us (43.8, 73.4), 128 144.6 us (139.6, 264.1). FLA is faster at 128.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import math

import torch

from .kernels.gdn_decode import gdn_decode

TUNING = {
    "size": "batch_size",
    "parameters": {
        "BLOCK_V": [8, 16, 32, 64, 128],
        "num_warps": [1, 2, 4, 8],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 2,
        "BLOCK_V": 16,
        "num_warps": 4,
    },
    {
        "up_to": None,
        "BLOCK_V": 32,
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
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor | None,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [batch, 1, qk heads, K], v [batch, 1, v heads, V], a, b [batch, 1, v heads], state
    [batch, v heads, V, K] float32 -> output [batch, 1, v heads, V], new_state like state."""
    scale = scale if scale else 1.0 / math.sqrt(q.shape[-1])
    return gdn_decode(q, k, v, state, A_log, a, dt_bias, b, scale, **tuned(v.shape[0]))
