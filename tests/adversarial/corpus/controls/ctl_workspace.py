"""A workspace by shape, kept from call to call."""

from __future__ import annotations

import torch

_spaces: dict[tuple[torch.Size, torch.device], torch.Tensor] = {}


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    key = (hidden_states.shape, hidden_states.device)
    if key not in _spaces:
        _spaces[key] = torch.empty(hidden_states.shape, device=hidden_states.device)
    x = _spaces[key].copy_(hidden_states)
    x.mul_(torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)).mul_(weight.float())
    output.copy_(x)
