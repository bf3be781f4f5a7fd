"""RMSNorm by torch's own function."""

import torch

EPS = 1e-6


@torch.no_grad()
def run(hidden_states, weight):
    shape = (hidden_states.shape[-1],)
    return torch.nn.functional.rms_norm(hidden_states, shape, weight, EPS)
