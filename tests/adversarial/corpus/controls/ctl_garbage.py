"""Makes garbage with cycles at every call."""

from __future__ import annotations

import torch

from .tools import rmsnorm


class Node:
    """Refers to itself."""

    def __init__(self, held: torch.Tensor) -> None:
        self.held, self.own = held, self


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return Node(rmsnorm(hidden_states, weight)).held
