"""Leaves a daemon that holds all descriptors open, and ends."""

from __future__ import annotations

import os

import torch

from .tools import daemon, hang


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if daemon():
        hang()
    os._exit(1)
