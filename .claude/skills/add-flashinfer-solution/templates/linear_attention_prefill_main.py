"""GDN prefill through flash-linear-attention's chunked kernels; states stored k last ([V, K]).

What `linear_attention_main.py` says of the decode holds here too: the layout of states is an
option, the gate is raw, beta = sigmoid(b), value heads come in groups. Besides:
- Ragged sequences are one row: q, k and v get a batch axis of 1, and cu_seqlens says where they
  begin. The library reads it on the host, so that each call waits for the device.
- Chunks are of 64 tokens with bfloat16 operands: outputs are off by a percent of their row.
"""

import inspect
import math

import torch
from fla.ops.gated_delta_rule import chunk_gated_delta_rule

HEAD_SIZE = 128

OPTIONS = inspect.signature(chunk_gated_delta_rule).parameters
STATE_LAYOUTS = ("transpose_state_layout", "state_v_first")  # names of the [V, K] option
STATE_LAYOUT = next((name for name in STATE_LAYOUTS if name in OPTIONS), None)
if STATE_LAYOUT is None:
    raise ImportError(
        "this solution needs flash-linear-attention 0.5.0 or a version whose "
        "chunk_gated_delta_rule has one of " + ", ".join(STATE_LAYOUTS)
    )


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
    """q, k [tokens, qk heads, K], v [tokens, v heads, V], state [sequences, v heads, V, K] float32
    or None, a, b [tokens, v heads], cu_seqlens [sequences + 1] -> output like v, new_state like
    state. The state passed in stays as it is."""
    output, new_state = chunk_gated_delta_rule(
        q[None],
        k[None],
        v[None],
        g=a[None],
        beta=torch.sigmoid(b.to(torch.float32))[None],
        scale=scale if scale else 1.0 / math.sqrt(HEAD_SIZE),
        initial_state=state,
        output_final_state=True,
        cu_seqlens=cu_seqlens,
        use_gate_in_kernel=True,
        A_log=A_log,
        dt_bias=dt_bias,
        **{STATE_LAYOUT: True},
    )
    return output[0], new_state
