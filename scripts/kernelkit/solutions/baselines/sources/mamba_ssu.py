"""Mamba-2 selective state update by flashinfer.mamba.selective_state_update.

dt, A, D and dt_bias have one value a head, repeated: FlashInfer wants them so, with strides of 0.
The API updates the pool in place: it gets a copy, whose cost is part of the time. Slots below 0 are
padding: no state is written, and their output is set to 0.
"""

import torch
from flashinfer.mamba import selective_state_update

PADDING = -1


def compute(
    state: torch.Tensor,
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    dt_bias: torch.Tensor,
    state_batch_indices: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """state [slots, heads, dim, dstate], x and dt [batch, heads, dim], B and C [batch, groups,
    dstate] -> output like x, new_state like state."""
    new_state = state.clone(memory_format=torch.contiguous_format)
    if not x.shape[0]:
        return torch.empty_like(x), new_state
    with torch.cuda.device_of(x):
        output = selective_state_update(
            new_state,
            x.contiguous(),
            dt[:, :, 0].contiguous()[:, :, None].expand(dt.shape),
            A[:, 0, 0].contiguous()[:, None, None].expand(A.shape),
            B.contiguous(),
            C.contiguous(),
            D[:, 0].contiguous()[:, None].expand(D.shape),
            dt_bias=dt_bias[:, 0].contiguous()[:, None].expand(dt_bias.shape),
            dt_softplus=True,
            state_batch_indices=state_batch_indices.clamp(min=PADDING),
            pad_slot_id=PADDING,
        )
    padding = (state_batch_indices < 0)[:, None, None]
    return output.masked_fill(padding, 0.0), new_state
