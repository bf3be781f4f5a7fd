"""Aborts."""

from __future__ import annotations

import os

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    os.abort()
    return hidden_states
