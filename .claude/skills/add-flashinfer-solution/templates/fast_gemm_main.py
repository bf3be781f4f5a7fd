"""C = A @ B.T: few rows by stream-K in Triton, many by cuBLAS.

Prediction for one H200 (4.2 TB/s, 2 us for a launch, 2 us from first read to last part): 1 to 16
rows of n 6,144, k 4,096 16 us, 64 rows 17 us (50 MB of weights: 12 us).

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6; in brackets cuBLAS) by
`python tests/benchmarks/kernels.py --device cuda:0 --only gemm`: n 6,144, k 4,096: 1 to 32 rows
24.6 to 25.2 us (23.4 to 24.0); n 4,096: 19.0 us (19.1); n 28,672: 69.3 us (70.9); k 14,336:
42.3 us (42.4). As fast as cuBLAS in the mean (0.97 to 1.01 by shape); more rows than 32 are cuBLAS.
Both stand 10 to 17 us above the weights' time whatever their size. The clock empties the L2 by
writing, so a kernel that reads 50 MB drives 50 MB of unwritten lines out: 12 us more traffic. That
would explain it; not tried yet.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.gemm_few_rows import gemm_few_rows

MOST_ROWS = 32  # beyond, cuBLAS is faster

TUNING = {
    "size": "M",
    "parameters": {
        "BLOCK_M": [16, 32],
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
        "up_to": None,
        "BLOCK_M": 32,
        "BLOCK_N": 64,
        "BLOCK_K": 128,
        "PROGRAMS_PER_SM": 2,
        "num_warps": 4,
        "num_stages": 4,
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
