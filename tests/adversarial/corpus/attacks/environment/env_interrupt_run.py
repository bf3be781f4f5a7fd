"""Raises KeyboardInterrupt."""

from __future__ import annotations

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    raise KeyboardInterrupt
    return hidden_states
