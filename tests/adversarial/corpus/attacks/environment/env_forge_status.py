"""Answers with a failure whose parts have odd types."""

from __future__ import annotations

import os

import torch

from .forging import answer, say


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    say(answer({"ok": False, "status": [1], "error": {"a": [2]}}))
    os._exit(0)
    return torch.zeros_like(hidden_states)
