"""GDN decode through flash-linear-attention's recurrent kernel; states stored k last ([V, K]).

Five things decide whether such a wrapper is right:
- State layout. The library's states are [K, V] unless told otherwise; the option's name differs
  between its versions. For square heads the wrong layout has the right shape.
- Gate. a is raw: the library applies -exp(A_log) softplus(a + dt_bias) itself where asked, and
  otherwise wants the logarithm of the decay, not the decay.
- beta = sigmoid(b): the library takes beta as it is.
- Heads. Value heads are a multiple of query and key heads; the kernel maps value head i to key
  head i // group. No normalisation of q and k: the layer before has done it.
- scale: 0 and None stand for 1 / sqrt(K).
"""

import inspect
import math

import torch
from fla.ops.gated_delta_rule import fused_recurrent_gated_delta_rule

HEAD_SIZE = 128

OPTIONS = inspect.signature(fused_recurrent_gated_delta_rule).parameters
STATE_LAYOUTS = ("transpose_state_layout", "state_v_first")  # names of the [V, K] option
STATE_LAYOUT = next((name for name in STATE_LAYOUTS if name in OPTIONS), None)
if STATE_LAYOUT is None or "use_gate_in_kernel" not in OPTIONS:
    raise ImportError(
        "this solution needs flash-linear-attention 0.5.0 or a version whose "
        "fused_recurrent_gated_delta_rule has use_gate_in_kernel and one of "
        + ", ".join(STATE_LAYOUTS)
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
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [batch, 1, qk heads, K], v [batch, 1, v heads, V], a, b [batch, 1, v heads], state
    [batch, v heads, V, K] float32 -> output [batch, 1, v heads, V], new_state like state.

    The kernel writes a state of its own: the one passed in stays as it is.
    """
    return fused_recurrent_gated_delta_rule(
        q,
        k,
        v,
        g=a,
        beta=torch.sigmoid(b.to(torch.float32)),
        scale=scale if scale else 1.0 / math.sqrt(HEAD_SIZE),
        initial_state=state,
        output_final_state=True,
        use_gate_in_kernel=True,
        A_log=A_log,
        dt_bias=dt_bias,
        **{STATE_LAYOUT: True},
    )
