"""GDN over the tokens of a multi-token-prediction step by FlashInfer's gated_delta_rule_mtp.

The pool of states is not updated, as the definition says; its copy is the second output. Slots
below 0 are padding: they read slot 0, and their output is set to 0. The API normalises q and k
unless told not to.
"""

import torch
from flashinfer.gdn_decode import gated_delta_rule_mtp

HEAD_SIZE = 128


def compute(
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
    intermediate_states_buffer: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [batch, tokens, qk heads, K], v [batch, tokens, v heads, V], initial_state [slots,
    v heads, V, K] -> output like v, the pool as it is. The buffer is the caller's: not written."""
    scale = scale or HEAD_SIZE**-0.5
    final_state = initial_state.clone(memory_format=torch.contiguous_format)
    if not v.shape[0]:
        return torch.empty_like(v), final_state
    with torch.cuda.device_of(q):
        output, _ = gated_delta_rule_mtp(
            q,
            k,
            v,
            final_state,
            initial_state_indices.clamp(min=0),
            A_log,
            a,
            dt_bias,
            b,
            scale=scale,
            intermediate_states_buffer=None,
            disable_state_update=True,
            use_qk_l2norm=False,
        )
    padding = (initial_state_indices < 0)[:, None, None, None]
    return output.masked_fill(padding, 0.0), final_state
