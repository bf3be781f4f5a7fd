"""Reads address 0."""

from __future__ import annotations

import ctypes

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    ctypes.string_at(0)
    return hidden_states
