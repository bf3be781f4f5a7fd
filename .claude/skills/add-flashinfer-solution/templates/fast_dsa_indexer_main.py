"""DSA's top-k indexer in Triton: each page of keys scored once, the best found without a sort.

Prediction for one H200 (4,277 GB/s, 780 TFLOP/s, 2 us for a launch) at 64 heads of 128 and 2,048 of
a request's tokens. Scores: 132 bytes and 16.4 kFLOP a token, 31 ps and 21 ps, so 50 ps where they
do not overlap, and 4 us of dependent reads. Choice: 3 us of reads and writes, then about 20 counts
of 0.2 us over 8,192 scores, of 0.3 us over 16,384; rows longer than a block of 16,384 take a second
round. 1 request of 8,192 tokens 15 us, 64 of them 41 us, 1 of 131,072 tokens 35 us.

Nothing of this is measured yet, and nothing was tuned:
`python tests/benchmarks/kernels.py --device cuda:0 --only indexer` does.

The indices come in the order of positions, not of scores: only which they are is judged, and what
reads them next reads the cache in order.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.dsa_indexer import index

TOPK = 2048

TUNING = {
    "size": "batch_size",
    "parameters": {
        "PROGRAMS_PER_SM": [2, 4, 8],
        "BLOCK": [4096, 8192, 16384],
        "num_warps": [4, 8],
        "num_stages": [3, 5, 7],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": None,
        "PROGRAMS_PER_SM": 4,
        "BLOCK": 16384,
        "num_warps": 4,
        "num_stages": 5,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many requests."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q_index_fp8: torch.Tensor,
    k_index_cache_fp8: torch.Tensor,
    weights: torch.Tensor,
    seq_lens: torch.Tensor,
    block_table: torch.Tensor,
) -> torch.Tensor:
    """q_index_fp8 [batch, heads, dim], k_index_cache_fp8 [pages, page size, 1, dim + 4] bytes,
    weights [batch, heads], seq_lens [batch], block_table [batch, pages of a request] ->
    topk_indices [batch, 2048] int32, -1 behind the last."""
    cache, parameters = k_index_cache_fp8, tuned(q_index_fp8.shape[0])
    return index(q_index_fp8, cache, weights, seq_lens, block_table, TOPK, **parameters)
