"""Mixture of experts in bfloat16 with a given routing, in Triton.

Prediction for one H200 (4.2 TB/s, 780 TFLOP/s, 2 us for each of four launches) at hidden 2,048,
width 768, 8 of 128 experts, 9.4 MB of weights an expert: 1 token 27 us (8 experts, 75 MB), 16
tokens 195 us (82 experts), 64 tokens 295 us (126 experts, 1.2 GB), 4,096 tokens 680 us (0.31 TFLOP
at two thirds of the rate, and 70 us for the sums of 32,768 rows).

Not measured yet: `python tests/benchmarks/kernels.py --device cuda:0 --only moe` does. Seen without
a GPU, in the sm_90a code: both products are wgmma, which run on while the next step's begin, their
loads one to three steps ahead, nothing spilt (216 registers at most). Not tried yet: tensor
descriptors (TMA), an order of blocks that keeps an expert's weights in L2, fewer launches for one
token.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.moe_bf16 import moe_bf16

TUNING = {
    "size": "seq_len",
    "parameters": {
        "BLOCK_ROWS": [16, 32, 64, 128],
        "BLOCK_COLUMNS": [64, 128],
        "BLOCK_K": [64, 128],
        "PROGRAMS_PER_SM": [1, 2, 4],
        "num_warps": [4, 8],
        "num_stages": [2, 3, 4, 5],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 256,
        "BLOCK_ROWS": 16,
        "BLOCK_COLUMNS": 64,
        "BLOCK_K": 128,
        "PROGRAMS_PER_SM": 2,
        "num_warps": 4,
        "num_stages": 3,
    },
    {
        "up_to": 1024,
        "BLOCK_ROWS": 64,
        "BLOCK_COLUMNS": 64,
        "BLOCK_K": 64,
        "PROGRAMS_PER_SM": 2,
        "num_warps": 4,
        "num_stages": 4,
    },
    {
        "up_to": None,
        "BLOCK_ROWS": 128,
        "BLOCK_COLUMNS": 128,
        "BLOCK_K": 64,
        "PROGRAMS_PER_SM": 1,
        "num_warps": 8,
        "num_stages": 4,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many tokens."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    input: torch.Tensor,
    token_selected_experts: torch.Tensor,
    token_final_scales: torch.Tensor,
    fc1_expert_weights: torch.Tensor,
    fc2_expert_weights: torch.Tensor,
) -> torch.Tensor:
    """input [tokens, hidden], experts [tokens, top_k] with factors, fc1_expert_weights [experts,
    2 width, hidden] ([up; gate]), fc2_expert_weights [experts, hidden, width] ->
    [tokens, hidden]."""
    return moe_bf16(
        input,
        token_selected_experts,
        token_final_scales,
        fc1_expert_weights,
        fc2_expert_weights,
        **tuned(input.shape[0]),
    )
