"""Returns a tuple in a tuple."""

from __future__ import annotations

from typing import Any

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> Any:
    return ((rmsnorm(hidden_states, weight),),)
