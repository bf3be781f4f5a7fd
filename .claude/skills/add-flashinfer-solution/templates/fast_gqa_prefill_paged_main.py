"""Causal GQA prefill over a paged cache, pages of many tokens, in Triton: one launch, no plan.

Prediction for one H200 (780 TFLOP/s in a GEMM; a softmax between two products leaves Triton about
two thirds of it) at 32 heads over 8, dim 128: batch 8 of 2,048 tokens 530 us, one request of 8,192
tokens 1.05 ms. The place to start from for masks, biases and layouts that nobody else serves.

Each candidate of the table was timed alone (`triton.testing.do_bench`, median) on 2026-11-22, H200,
torch 2.11, Triton 3.6: batch 8 of 2,048 tokens 589 us, one request of 8,192
1,004 us (over pages of one, FlashInfer 0.6.12 takes 638 and 1,013 us).

The first version, in Triton: 772 and 1,217 us over ragged keys, 1,168 and 2,425 us over pages of
one. It read its queries into registers anew for each block of keys, and asked for page numbers only
when it needed them. Now queries stay in shared memory, page numbers come a block ahead, one loop
masks in its last blocks, tiles come by tensor descriptor where they can. SPECIALIZED is a kernel
for Hopper in Gluon: warps that load, two groups that multiply, products that run below the softmax.
There it takes four fifths of the time of the best without it. Few tokens: it has no advantage, and
descriptors cost the host 60 us. Not tried: a persistent grid.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.gqa_prefill import gqa_prefill

TUNING = {
    "size": "total_q",
    "parameters": {
        "SPECIALIZED": [0, 1],
        "BLOCK_ROWS": [64, 128],
        "BLOCK_TOKENS": [32, 64, 128],
        "TMA": [0, 1],
        "ONE_LOOP": [0, 1],
        "num_warps": [4, 8],
        "num_stages": [2, 3, 4],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 4096,
        "SPECIALIZED": 0,
        "BLOCK_ROWS": 64,
        "BLOCK_TOKENS": 64,
        "TMA": 0,
        "ONE_LOOP": 1,
        "num_warps": 4,
        "num_stages": 2,
    },
    {
        "up_to": None,
        "SPECIALIZED": 1,
        "BLOCK_ROWS": 128,
        "BLOCK_TOKENS": 64,
        "TMA": 1,
        "ONE_LOOP": 1,
        "num_warps": 8,
        "num_stages": 4,
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
