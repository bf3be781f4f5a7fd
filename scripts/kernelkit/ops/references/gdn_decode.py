"""Gated delta rule, one token a request; state [batch, value heads, V, K] in float32 (k last).

S = decay * S; S = S + beta * (v - S k) k^T; output = scale * S q. Query and key heads repeat for
their group of value heads. No q/k normalisation. scale None or 0: 1 / sqrt(K); state None: zeros.
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
def run(q, k, v, state, A_log, a, dt_bias, b, scale):
    batch, _, heads, dim = v.shape[0], v.shape[1], v.shape[2], q.shape[3]
    scale = scale if scale else 1.0 / math.sqrt(dim)
    if state is None:
        state = torch.zeros(batch, heads, v.shape[3], dim, device=q.device)
    decay, beta = gates(A_log, a[:, 0], dt_bias, b[:, 0])
    group = heads // q.shape[2]
    query, key = (x[:, 0].to(torch.float32).repeat_interleave(group, dim=1) for x in (q, k))
    value = v[:, 0].to(torch.float32)
    new_state, out = update(state.to(torch.float32), query, key, value, decay, beta)
    return (out * scale).to(q.dtype)[:, None], new_state
