"""Returns a list that never comes to its first element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from .tools import hang


class Endless(list[Any]):
    """Has length one, and hangs when it is looked through."""

    def __iter__(self) -> Iterator[Any]:
        hang()
        return iter([torch.zeros(1)])

    def __len__(self) -> int:
        return 1


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> list[Any]:
    return Endless()
