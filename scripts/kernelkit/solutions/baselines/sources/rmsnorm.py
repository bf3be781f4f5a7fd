"""RMSNorm by flashinfer.norm, plain or in Gemma's form (factor 1 + weight)."""

import torch
from flashinfer.norm import gemma_rmsnorm, rmsnorm

EPS = 1e-06
GEMMA = False


def compute(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """hidden_states [rows, size], weight [size] -> output like hidden_states."""
    if not hidden_states.shape[0]:  # an empty grid is an error
        return torch.empty_like(hidden_states)
    norm = gemma_rmsnorm if GEMMA else rmsnorm
    with torch.cuda.device_of(hidden_states):
        return norm(hidden_states.contiguous(), weight, eps=EPS)
