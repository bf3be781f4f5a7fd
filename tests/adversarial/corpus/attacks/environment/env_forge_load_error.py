"""Says that it did not load, without a reason."""

from __future__ import annotations

import os

import torch

from .forging import answer, say

say(answer({"ok": False}))
os._exit(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(hidden_states)
