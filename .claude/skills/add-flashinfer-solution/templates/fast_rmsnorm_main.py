"""RMSNorm in one Triton kernel for small and large batches.

Prediction for one H200 (4.2 TB/s, 2 us for a launch, 1 us for a trip to memory) at hidden size
4,096: batch 1 to 64 3.2 us, batch 1,024 6.5 us, batch 16,384 66 us.

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets FlashInfer) by
`python tests/benchmarks/kernels.py --device cuda:0 --only rmsnorm`: batch 1 4.1 us (4.1), 64 4.6 us
(5.2), 1,024 8.0 us (8.5), 16,384 69.9 us (69.2).

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.rmsnorm import normalize

HIDDEN_SIZE = 4096
EPS = 1e-05
WEIGHT_OFFSET = 0.0  # 1.0 in Gemma, whose weights are stored less one

TUNING = {
    "size": "batch_size",
    "parameters": {
        "PROGRAM_ROWS": [1, 2, 4],
        "ELEMENTS": [4, 8, 16, 32],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 128,
        "PROGRAM_ROWS": 1,
        "ELEMENTS": 8,
    },
    {
        "up_to": 2048,
        "PROGRAM_ROWS": 1,
        "ELEMENTS": 16,
    },
    {
        "up_to": None,
        "PROGRAM_ROWS": 1,
        "ELEMENTS": 16,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many rows."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """hidden_states [batch, 4096], weight [4096] -> output [batch, 4096], all bfloat16."""
    parameters = tuned(hidden_states.shape[0])
    return normalize(hidden_states, None, weight, EPS, WEIGHT_OFFSET, **parameters)
