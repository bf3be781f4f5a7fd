"""Causal GQA prefill over a paged cache, pages of many tokens, in Triton: one launch, no plan.

Prediction for one H200 (780 TFLOP/s in a GEMM; a softmax between two products leaves Triton about
two thirds of it) at 32 heads over 8, dim 128: batch 8 of 2,048 tokens 530 us, one request of 8,192
tokens 1.05 ms. FlashInfer needs 481 and 818 us: this is the place to start from for masks, biases
and layouts that it does not serve, not a faster copy of it.

Not measured yet: `python tests/benchmarks/kernels.py --device cuda:0 --only prefill` does. Its
products are wgmma (seen in the code for sm_90), its keys come by cp.async. Not tried yet: tensor
descriptors (TMA) for ragged keys, and warps that only load.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.gqa_prefill import gqa_prefill

TUNING = {
    "size": "total_q",
    "parameters": {
        "BLOCK_ROWS": [64, 128],
        "BLOCK_TOKENS": [32, 64, 128],
        "num_warps": [4, 8],
        "num_stages": [2, 3, 4],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": None,
        "BLOCK_ROWS": 128,
        "BLOCK_TOKENS": 64,
        "num_warps": 8,
        "num_stages": 3,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many query tokens."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [tokens, h, d], caches [pages, page size, kv, d] -> output like q, lse [tokens, h]."""
    parameters = tuned(q.shape[0])
    tables = (qo_indptr, kv_indptr, kv_indices, kv_last_page_len)
    return gqa_prefill(q, k_cache, v_cache, *tables, sm_scale, **parameters)
