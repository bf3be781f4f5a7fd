"""Returns a list that never ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from .tools import HANG_S


class Endless(list[Any]):
    """Has length one, and goes on."""

    def __iter__(self) -> Iterator[Any]:
        end = time.monotonic() + HANG_S
        while time.monotonic() < end:
            yield torch.zeros(1)

    def __len__(self) -> int:
        return 1


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> list[Any]:
    return Endless()
