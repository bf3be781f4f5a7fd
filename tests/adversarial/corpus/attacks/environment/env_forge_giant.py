"""Announces a message of 4 GB."""

from __future__ import annotations

import torch

from .forging import say
from .tools import hang  # noqa: I001


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    say(b"\xff\xff\xff\xff")
    hang()
    return torch.zeros_like(hidden_states)
