"""GDN over the tokens of a multi-token-prediction step, in one Triton kernel; states [V, K].

Prediction for one H200 (4.2 TB/s, 2 us for a launch) at 16 key and 32 value heads of 128, 4 tokens,
a pool as large as the batch (2 MiB a slot each way): batch 1 6 us, 32 36 us, 128 135 us.
Slots that no request uses cost as much: the definition returns a copy of the pool, which the
measured limit (one read a request) does not count; with it the limit of batch 128 is 125 us.

Measured 2026-11-22, H200 (torch 2.11, Triton 3.6, FlashInfer 0.6.12; in brackets FlashInfer and a
copy of the pool), each candidate of the table alone by the clock of `scripts/tune_solution.py`:
batch 1 10.6 us (25.3), 32 61.5 us (97.0), 128 224 us (292). With the rule run on whole states
13.8, 89.5 and 399 us: on paper two sums over each row for each token took 90 us of shuffles and as
much of arithmetic at batch 128, and each token waited for its loads. Now the rule runs on the
state's products with 4 keys and 4 queries, by tensor cores; two warps of 168 registers a thread
beat four of 96.

No `from __future__ import annotations` here: some tools read the return annotation of `run` as an
object, to count its outputs.
"""

import math

import torch

from .kernels.gdn_mtp import gdn_mtp

TUNING = {
    "size": "batch_size",
    "parameters": {
        "BLOCK_V": [8, 16, 32, 64],
        "num_warps": [1, 2, 4, 8],
        "maxnreg": [80, 96, 128, 168, 255],
    },
}

# tuned: begin (scripts/tune_solution.py writes this table: the first row that reaches up_to counts)
TUNED = [
    {
        "up_to": None,
        "BLOCK_V": 32,
        "num_warps": 2,
        "maxnreg": 168,
    },
]
# tuned: end


def tuned(size: int) -> dict[str, int]:
    """The parameters for that many requests."""
    row = next(row for row in TUNED if row["up_to"] is None or size <= row["up_to"])
    return {name: value for name, value in row.items() if name != "up_to"}


@torch.no_grad()
def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    initial_state: torch.Tensor,
    initial_state_indices: torch.Tensor,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
    scale: float | None,
    intermediate_states_buffer: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [batch, tokens, qk heads, K], v [batch, tokens, v heads, V], a, b [batch, tokens, v
    heads], initial_state [pool, v heads, V, K] -> output like v, final_state like initial_state.

    The pool is not updated, and intermediate_states_buffer is an input: it is not written.
    """
    scale = scale if scale else 1.0 / math.sqrt(q.shape[-1])
    states = initial_state, initial_state_indices
    return gdn_mtp(q, k, v, *states, A_log, a, dt_bias, b, scale, **tuned(v.shape[0]))
