"""Mixture of experts, DeepSeek routing, float8 with scales of blocks of 128, in Triton.

Prediction for one H200 (4.2 TB/s, 1,577 TFLOP/s in float8 and half of it in float16, 2 us for each
of five launches) at hidden 7,168, width 2,048, 32 of 256 experts here, 44 MB of weights an expert:
1 token 25 us (one expert or none), 64 tokens 300 us (27 experts, 1.2 GB), 4,096 tokens 800 us
(4,096 rows, 0.36 TFLOP, 1.4 GB).

At most half of the tensor cores' rate, as each step of 128 columns waits for its products.

Not measured yet: `python tests/benchmarks/kernels.py --device cuda:0 --only moe` does. Seen without
a GPU, in the sm_90a code: both products are wgmma (the first in float8), their loads two to four
steps ahead, nothing spilt. Not tried yet: a float8 intermediate (the second product at twice the
rate, at the price of matches), tensor descriptors (TMA), fewer launches for one token.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import torch

from .kernels.moe_fp8 import Experts, Routing, moe_fp8

TOP_K = 8
N_GROUP = 8
TOPK_GROUP = 4

TUNING = {
    "size": "seq_len",
    "parameters": {
        "BLOCK_ROWS": [16, 32, 64, 128],
        "BLOCK_COLUMNS": [64, 128],
        "PROGRAMS_PER_SM": [1, 2, 4],
        "num_warps": [4, 8],
        "num_stages": [2, 3, 4, 5],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": 512,
        "BLOCK_ROWS": 16,
        "BLOCK_COLUMNS": 64,
        "PROGRAMS_PER_SM": 2,
        "num_warps": 4,
        "num_stages": 5,
    },
    {
        "up_to": 2048,
        "BLOCK_ROWS": 64,
        "BLOCK_COLUMNS": 128,
        "PROGRAMS_PER_SM": 1,
        "num_warps": 8,
        "num_stages": 4,
    },
    {
        "up_to": None,
        "BLOCK_ROWS": 128,
        "BLOCK_COLUMNS": 128,
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
    routing_logits: torch.Tensor,
    routing_bias: torch.Tensor,
    hidden_states: torch.Tensor,
    hidden_states_scale: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm1_weights_scale: torch.Tensor,
    gemm2_weights: torch.Tensor,
    gemm2_weights_scale: torch.Tensor,
    local_expert_offset: int,
    routed_scaling_factor: float,
) -> torch.Tensor:
    """routing_logits [tokens, experts], routing_bias [experts], hidden_states [tokens, hidden] with
    scales [hidden / 128, tokens], gemm1_weights [local, 2 width, hidden] ([up; gate]) and
    gemm2_weights [local, hidden, width] with scales of their blocks -> [tokens, hidden]."""
    routing = Routing(
        routing_logits, routing_bias, local_expert_offset, "ds", TOP_K, N_GROUP, TOPK_GROUP,
        routed_scaling_factor,
    )  # fmt: skip
    weights = Experts(
        gemm1_weights, gemm1_weights_scale, gemm1_weights_scale, gemm2_weights, gemm2_weights_scale
    )
    parameters = tuned(hidden_states.shape[0])
    return moe_fp8(routing, hidden_states, hidden_states_scale, weights, **parameters)
