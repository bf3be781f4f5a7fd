"""Imports what is not there."""

from __future__ import annotations

import no_such_module_anywhere  # noqa: E402, F401
import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return hidden_states
