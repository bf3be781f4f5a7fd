"""Returns a tensor whose memory is gone."""

from __future__ import annotations

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    result = rmsnorm(hidden_states, weight)
    result.untyped_storage().resize_(0)
    return result
