"""Answers with a failure whose text no file can hold."""

from __future__ import annotations

import os

import torch

from .forging import answer, say


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    say(answer({"ok": False, "error": "\ud800\u0000"}))
    os._exit(0)
    return torch.zeros_like(hidden_states)
