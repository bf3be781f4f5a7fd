"""Reads address 0 while it is imported."""

from __future__ import annotations

import ctypes

import torch

ctypes.string_at(0)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return hidden_states
