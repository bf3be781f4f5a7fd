"""Returns a view with gaps: every other column of a larger buffer."""

from __future__ import annotations

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    rows, width = hidden_states.shape
    wide = torch.zeros(rows, 2 * width, dtype=hidden_states.dtype, device=hidden_states.device)
    wide[:, ::2] = rmsnorm(hidden_states, weight)
    return wide[:, ::2]
