"""Asks a program something while it is imported, and waits for the answer."""

from __future__ import annotations

import subprocess
import sys

import torch

from .tools import rmsnorm

answer = subprocess.run(
    [sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True
)
assert answer.stdout.strip() == "42"


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
