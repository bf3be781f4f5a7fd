"""C = A @ B.T: few rows by stream-K in Triton, many by cuBLAS.

Prediction for one H200 (4.2 TB/s, 2 us for a launch, 2 us from first read to last part): 1 to 16
rows of n 6,144, k 4,096 16 us, 64 rows 17 us (50 MB of weights: 12 us).

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6; in brackets cuBLAS) by
`python tests/benchmarks/kernels.py --device cuda:0 --only gemm`: n 6,144, k 4,096: 1 to 16 rows
22.7 us (21.7 to 22.0), 64 rows 25.3 us (21.9); n 28,672: 67.1 us (67.1), 64 rows 72.5 us (69.3);
k 14,336: 40.2 us (40.3). To 16 rows within 5 % of cuBLAS; slower at 64 rows.
Both stand 10 to 17 us above the weights' time whatever their size. The clock empties the L2 by
writing, so a kernel that reads 50 MB drives 50 MB of unwritten lines out: 12 us more traffic. That
would explain it; not tried yet.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.gemm_few_rows import gemm_few_rows

MOST_ROWS = 64  # beyond, the products bind and cuBLAS is there

TUNING = {
    "size": "M",
    "parameters": {
        "BLOCK_M": [16, 32, 64],
        "BLOCK_N": [32, 64, 128],
        "BLOCK_K": [64, 128, 256],
        "PROGRAMS_PER_SM": [1, 2, 3, 4],
        "num_warps": [4, 8],
        "num_stages": [3, 4, 5, 6],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 16,
        "BLOCK_M": 16,
        "BLOCK_N": 64,
        "BLOCK_K": 128,
        "PROGRAMS_PER_SM": 2,
        "num_warps": 4,
        "num_stages": 5,
    },
    {
        "up_to": 32,
        "BLOCK_M": 32,
        "BLOCK_N": 64,
        "BLOCK_K": 128,
        "PROGRAMS_PER_SM": 2,
        "num_warps": 4,
        "num_stages": 4,
    },
    {
        "up_to": None,
        "BLOCK_M": 64,
        "BLOCK_N": 64,
        "BLOCK_K": 128,
        "PROGRAMS_PER_SM": 2,
        "num_warps": 4,
        "num_stages": 3,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many rows."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """A [M, K], B [N, K] -> C [M, N], all float16."""
    if A.shape[0] > MOST_ROWS:
        return torch.mm(A, B.t())
    return gemm_few_rows(A, B, **tuned(A.shape[0]))
