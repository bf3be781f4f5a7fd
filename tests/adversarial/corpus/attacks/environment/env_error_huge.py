"""An error with a text of 50 MB."""

from __future__ import annotations

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("long " * 10_000_000)
