"""GQA decode over a paged cache, pages of many tokens: split-KV in Triton, one launch, no plan.

Prediction for one H200 (4.2 TB/s, 2 us for a launch, about 3 us of dependent reads before the first
key arrives, 1 us for the merge): batch 1, 4,096 tokens 10 us; batch 16, 2,048 tokens 38 us; batch
64, 8,192 tokens 515 us (8 KV heads of 128, 4 KiB a token).

Measured 2026-11-21, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets the faster of
FlashInfer's two paths) by `python tests/benchmarks/kernels.py --device cuda:0 --only gqa`, pages of
64, while other programs kept the host busy: batch 1 19.6 us (18.4), 16 52.8 us (53.5), 64 of 1,024
tokens 89.0 us (83.9), of 8,192 507 us (500). FlashInfer is 3 % faster in the mean.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.gqa_decode import gqa_decode

TUNING = {
    "size": "num_kv_indices",
    "parameters": {
        "BLOCK_TOKENS": [32, 64, 128],
        "PROGRAMS_PER_SM": [1, 2, 3, 4],
        "LEAST_BLOCKS": [1, 2, 4],
        "MERGE_IN_KERNEL": [True, False],
        "num_warps": [4, 8],
        "num_stages": [5, 7, 9],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": None,
        "BLOCK_TOKENS": 64,
        "PROGRAMS_PER_SM": 2,
        "LEAST_BLOCKS": 2,
        "MERGE_IN_KERNEL": True,
        "num_warps": 4,
        "num_stages": 7,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many entries of kv_indices."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [b, h, d], caches [pages, page size, kv, d] -> output [b, h, d], lse [b, h] float32."""
    parameters = tuned(kv_indices.shape[0])
    caches, tables = (k_cache, v_cache), (kv_indptr, kv_indices, kv_last_page_len)
    return gqa_decode(q, *caches, *tables, sm_scale, **parameters)
