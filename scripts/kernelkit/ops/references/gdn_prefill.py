"""Gated delta rule over ragged sequences; state [sequences, value heads, V, K] float32 (k last).

S = decay * S; S = S + beta * (v - S k) k^T; output = scale * S q, for all sequences at once, time
step by time step (the recurrence is sequential). a and b are the raw gates. An empty sequence keeps
its state. No q/k normalisation. scale None or 0: 1 / sqrt(K); state None: zeros.
"""

import math

import torch


def gates(A_log, a, dt_bias, b):
    """The decay in (0, 1] and beta in (0, 1), float32, of the shape of a."""
    step = torch.nn.functional.softplus(a.to(torch.float32) + dt_bias.to(torch.float32))
    decay = torch.exp(-torch.exp(A_log.to(torch.float32)) * step)
    return decay, torch.sigmoid(b.to(torch.float32))


def update(state, q, k, v, decay, beta):
    """One token: state [b, h, v, k]; q, k [b, h, k]; v [b, h, v]; decay, beta [b, h]."""
    state = state * decay[..., None, None]
    old_v = torch.matmul(state, k[..., None]).squeeze(-1)
    delta = beta[..., None] * (v - old_v)
    state = state + delta[..., None] * k[..., None, :]
    return state, torch.matmul(state, q[..., None]).squeeze(-1)


@torch.no_grad()
def run(q, k, v, state, A_log, a, dt_bias, b, cu_seqlens, scale):
    heads, dim = v.shape[1], q.shape[2]
    scale = scale if scale else 1.0 / math.sqrt(dim)
    starts = cu_seqlens[:-1].long()
    lengths = cu_seqlens[1:].long() - starts
    if state is None:
        state = torch.zeros(len(starts), heads, v.shape[2], dim, device=q.device)
    states = state.to(torch.float32).clone()
    decay, beta = gates(A_log, a, dt_bias, b)
    group = heads // q.shape[1]
    query, key = (x.to(torch.float32).repeat_interleave(group, dim=1) for x in (q, k))
    value = v.to(torch.float32)
    output = torch.zeros_like(v)
    # Longest first: at step t the sequences that still run are the first of them.
    order = torch.argsort(lengths, descending=True, stable=True)
    running = lengths[order].tolist()
    active = len(running)
    for t in range(running[0] if running else 0):
        while running[active - 1] <= t:
            active -= 1
        alive = order[:active]
        row = starts[alive] + t
        states[alive], out = update(
            states[alive], query[row], key[row], value[row], decay[row], beta[row]
        )
        output[row] = (out * scale).to(v.dtype)
    return output, states
