"""GDN over ragged sequences, in two Triton kernels: chunks of 64 tokens; states [V, K].

Prediction for one H200 (4.2 TB/s, 2 us for a launch) at 16 key and 32 value heads of 128, written
before the first run: one sequence of 8,192 tokens 250 us (128 chunks of 1.4 us one after the
other, and 60 us for all chunks at once), 8 of 2,048 260 us, 32 of 512 250 us.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import math

import torch

from .kernels.gdn_prefill import gdn_prefill

TUNING = {
    "size": "total_seq_len",
    "parameters": {
        "BLOCK_V": [16, 32, 64, 128],
        "STAGES": [1, 2, 3],
        "num_warps": [2, 4, 8],
        "chunk_warps": [2, 4, 8],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": None,
        "BLOCK_V": 32,
        "STAGES": 2,
        "num_warps": 4,
        "chunk_warps": 4,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many tokens."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor | None,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
    cu_seqlens: torch.Tensor,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [tokens, qk heads, K], v [tokens, v heads, V], state [sequences, v heads, V, K] or None,
    a, b [tokens, v heads], cu_seqlens [sequences + 1] -> output like v, new_state like state."""
    scale = scale if scale else 1.0 / math.sqrt(q.shape[-1])
    tables = tuned(v.shape[0])
    return gdn_prefill(q, k, v, state, A_log, a, dt_bias, b, cu_seqlens, scale, **tables)
