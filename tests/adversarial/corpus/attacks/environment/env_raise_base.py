"""Raises an exception that is no Exception."""

from __future__ import annotations

import torch


class Odd(BaseException):
    """Not caught by `except Exception`."""


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    raise Odd("odd")
