"""Mamba-2 selective state update, one token a request, states in a pool by slot.

dt = softplus(dt + dt_bias); S = S * exp(A dt) + (dt x) B; y = S C + x D, with y from the float32
state before it is rounded to the pool's type. Heads share B and C by group. A slot below 0 is
padding: output 0, no state written. The pool that is returned is a copy.
"""

import torch


@torch.no_grad()
def run(state, x, dt, A, B, C, D, dt_bias, state_batch_indices):
    heads, groups = x.shape[1], B.shape[1]
    slots = state_batch_indices.long()
    used = slots >= 0
    x32 = x.to(torch.float32)
    step = torch.nn.functional.softplus(dt.to(torch.float32) + dt_bias.to(torch.float32))
    b, c = (t.to(torch.float32).repeat_interleave(heads // groups, dim=1) for t in (B, C))
    old = state[slots.clamp(min=0)].to(torch.float32)
    new = old * torch.exp(A.to(torch.float32) * step[..., None])
    new = new + (step * x32)[..., None] * b[:, :, None, :]
    y = (new * c[:, :, None, :]).sum(dim=-1) + x32 * D.to(torch.float32)
    new_state = state.clone()
    new_state[slots[used]] = new[used].to(state.dtype)
    return y.masked_fill(~used[:, None, None], 0.0).to(x.dtype), new_state
