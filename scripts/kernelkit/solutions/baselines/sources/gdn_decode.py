"""GDN decode by FlashInfer's gated_delta_rule_decode_pretranspose; states [V, K] in float32.

The API updates the state in place: it gets a copy, whose cost is part of the time. It normalises q
and k unless told not to.
"""

import torch
from flashinfer.gdn_decode import gated_delta_rule_decode_pretranspose

NUM_V_HEADS = 8
HEAD_SIZE = 128


def compute(
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
    """q, k [batch, 1, qk heads, K], v [batch, 1, v heads, V], state [batch, v heads, V, K] ->
    output like v, new_state like state."""
    scale = scale or HEAD_SIZE**-0.5
    shape = (v.shape[0], NUM_V_HEADS, HEAD_SIZE, HEAD_SIZE)
    if state is None:
        new_state = torch.zeros(shape, dtype=torch.float32, device=q.device)
    else:
        new_state = state.clone(memory_format=torch.contiguous_format)
    if not v.shape[0]:
        return torch.empty_like(v), new_state
    with torch.cuda.device_of(q):
        return gated_delta_rule_decode_pretranspose(
            q,
            k,
            v,
            new_state,
            A_log,
            a,
            dt_bias,
            b,
            scale=scale,
            use_qk_l2norm=False,
        )
