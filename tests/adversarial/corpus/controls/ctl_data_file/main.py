"""Reads a table that lies beside its source."""

from __future__ import annotations

import json
from pathlib import Path

import torch

TABLE = json.loads((Path(__file__).parent / "table.json").read_text())


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    x = hidden_states.float()
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + TABLE["epsilon"])
    return (x * scale * weight.float()).to(hidden_states.dtype)
