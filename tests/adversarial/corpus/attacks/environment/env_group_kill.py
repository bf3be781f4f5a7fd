"""Kills its own process group."""

from __future__ import annotations

import os
import signal

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    os.killpg(0, signal.SIGKILL)
    return hidden_states
