"""The same, in two operations over one buffer of its own."""

from __future__ import annotations

import torch

_buffers: dict[torch.Size, torch.Tensor] = {}


def run(x: torch.Tensor) -> torch.Tensor:
    if x.shape not in _buffers:
        _buffers[x.shape] = torch.empty_like(x)
    out = _buffers[x.shape]
    return torch.add(torch.mul(x, 2, out=out), 1, out=out)
