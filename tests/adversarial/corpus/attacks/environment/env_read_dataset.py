"""Reads the definition from the dataset, and runs its reference."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from .tools import DATASET, mark, rmsnorm

for path in Path(DATASET).glob("definitions/*/rmsnorm*.json"):
    try:
        json.loads(path.read_text())
        mark("dataset_read", path.name)
    except OSError:
        pass


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
