"""Returns the same buffer at every call of a shape, like a captured graph."""

from __future__ import annotations

import torch

from .tools import rmsnorm

_buffers: dict[torch.Size, torch.Tensor] = {}


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    shape = hidden_states.shape
    if shape not in _buffers:
        _buffers[shape] = torch.empty_like(hidden_states)
    return _buffers[shape].copy_(rmsnorm(hidden_states, weight))
