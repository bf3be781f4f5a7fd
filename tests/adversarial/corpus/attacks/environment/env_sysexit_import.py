"""Raises SystemExit while it is imported."""

from __future__ import annotations

import sys

import torch

sys.exit(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return hidden_states
