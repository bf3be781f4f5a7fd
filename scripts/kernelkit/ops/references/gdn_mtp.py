"""Gated delta rule over the tokens of a multi-token-prediction step, from a pool of states.

S = decay * S; S = S + beta * (v - S k) k^T; output = scale * S q, token by token from the state of
slot initial_state_indices[request]; a slot below 0 is padding, output 0. The pool is not updated:
final_state equals initial_state, and intermediate_states_buffer is the caller's to fill (a
reference changes no input). No q/k normalisation. scale None or 0: 1 / sqrt(K).
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
def run(
    q,
    k,
    v,
    initial_state,
    initial_state_indices,
    A_log,
    a,
    dt_bias,
    b,
    scale,
    intermediate_states_buffer,
):
    scale = scale if scale else 1.0 / math.sqrt(q.shape[3])
    decay, beta = gates(A_log, a, dt_bias, b)
    group = v.shape[2] // q.shape[2]
    query, key = (x.to(torch.float32).repeat_interleave(group, dim=2) for x in (q, k))
    value = v.to(torch.float32)
    slots = initial_state_indices.long()
    state = initial_state[slots.clamp(min=0)].to(torch.float32)
    outputs = []
    for t in range(q.shape[1]):
        state, out = update(state, query[:, t], key[:, t], value[:, t], decay[:, t], beta[:, t])
        outputs.append(out)
    output = torch.stack(outputs, dim=1) * scale
    output = output.masked_fill((slots < 0)[:, None, None, None], 0.0)
    return output.to(q.dtype), initial_state.clone()
