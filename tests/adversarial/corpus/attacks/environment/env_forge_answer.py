"""Answers the request itself, twice, and returns zeros."""

from __future__ import annotations

import torch

from .forging import answer, say


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    say(answer({"ok": True}) * 2)
    return torch.zeros_like(hidden_states)
