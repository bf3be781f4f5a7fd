"""MLA decode over a paged latent cache, one token a page: split-KV in Triton, no plan.

Prediction for one H200 (4.2 TB/s, 2 us for each of two launches, 3 us of dependent reads, 2 us for
the merge) at 16 heads, 512 + 64 dims: batch 16, 2,048 tokens 18 us; batch 64, 2,048 tokens 44 us;
batch 128, 4,096 tokens 155 us (1,152 bytes a token).

Measured 2026-11-22, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets FlashInfer) by
`python tests/benchmarks/kernels.py --device cuda:0 --only mla`: 28.0 us (27.7),
62.0 us (58.9), 185 us (171). Before, 29.8, 67.0 and 217 us: on
paper every warp read q from shared memory for each block of 32 tokens, twice the block's own bytes,
and addresses were a third of the instructions. Now a block has 64 tokens and is read in chunks of
columns (`latent_block`, with what was tried and left). FlashInfer is faster still at many requests;
what binds there is not known: 71 % of the bandwidth, with one block on its way.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.latent_block import fitting
from .kernels.mla_split_decode import mla_decode

TUNING = {
    "size": "num_kv_indices",
    "parameters": {
        "BLOCK_HEADS": [16, 32, 64],
        "BLOCK_TOKENS": [32, 64],
        "PROGRAMS_PER_SM": [1, 2],
        "LEAST_BLOCKS": [1, 2, 4],
        "CHUNK": [64, 128, 256, 512],
        "num_warps": [4, 8],
        "num_stages": [1, 3, 5, 7, 9],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 262144,
        "BLOCK_HEADS": 16,
        "BLOCK_TOKENS": 64,
        "PROGRAMS_PER_SM": 1,
        "LEAST_BLOCKS": 2,
        "CHUNK": 128,
        "num_warps": 8,
        "num_stages": 5,
    },
    {
        "up_to": None,
        "BLOCK_HEADS": 16,
        "BLOCK_TOKENS": 64,
        "PROGRAMS_PER_SM": 2,
        "LEAST_BLOCKS": 2,
        "CHUNK": 128,
        "num_warps": 4,
        "num_stages": 3,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many entries of kv_indices."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q_nope [b, h, ckv], q_pe [b, h, kpe], caches [pages, page size, dim] -> output like q_nope,
    lse [b, h] float32."""
    parameters = fitting(tuned(kv_indices.shape[0]), q_nope.device)
    caches, tables = (ckv_cache, kpe_cache), (kv_indptr, kv_indices, None)
    return mla_decode(q_nope, q_pe, *caches, *tables, sm_scale, **parameters)
