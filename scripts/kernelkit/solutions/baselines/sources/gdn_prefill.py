"""GDN prefill over ragged sequences by FlashInfer's chunk_gated_delta_rule; states [V, K].

The API takes the decay in (0, 1] and beta, both float32: they are computed from the raw gates here.
The new states start as the old ones, so that an empty sequence keeps its own.
"""

import torch
from flashinfer.gdn_prefill import chunk_gated_delta_rule

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
    cu_seqlens: torch.Tensor,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q, k [tokens, qk heads, K], v [tokens, v heads, V], state [sequences, v heads, V, K] ->
    output like v, new_state like state."""
    scale = scale or HEAD_SIZE**-0.5
    shape = (cu_seqlens.shape[0] - 1, NUM_V_HEADS, HEAD_SIZE, HEAD_SIZE)
    if state is None:
        state = torch.zeros(shape, dtype=torch.float32, device=q.device)
    new_state = state.clone(memory_format=torch.contiguous_format)
    if not v.shape[0]:
        return torch.empty_like(v), new_state
    step = torch.nn.functional.softplus(a.to(torch.float32) + dt_bias)
    decay = torch.exp(-torch.exp(A_log) * step)
    with torch.cuda.device_of(q):
        return chunk_gated_delta_rule(
            q.contiguous(),
            k.contiguous(),
            v.contiguous(),
            g=decay,
            beta=torch.sigmoid(b.to(torch.float32)),
            scale=scale,
            initial_state=state.contiguous(),
            output_final_state=True,
            cu_seqlens=cu_seqlens,
            use_qk_l2norm_in_kernel=False,
            output_state=new_state,
        )
