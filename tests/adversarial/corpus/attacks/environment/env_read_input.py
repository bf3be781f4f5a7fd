"""Waits for a line of input."""

from __future__ import annotations

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    input()
    return hidden_states
