"""Sends half of a message, and no more."""

from __future__ import annotations

import torch

from .forging import say
from .tools import hang  # noqa: I001


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    say(b"\x00\x00\x00\x40{")
    hang()
    return torch.zeros_like(hidden_states)
