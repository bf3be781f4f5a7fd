"""Answers with JSON nested a hundred thousand deep."""

from __future__ import annotations

import os
import struct

import torch

from .forging import say


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    data = b"[" * 100_000
    say(struct.pack("!I", len(data)) + data)
    os._exit(0)
    return torch.zeros_like(hidden_states)
