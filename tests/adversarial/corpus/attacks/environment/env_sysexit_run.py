"""Raises SystemExit."""

from __future__ import annotations

import sys

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    sys.exit(0)
    return hidden_states
