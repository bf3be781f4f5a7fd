"""Paged decode attention, both outputs as a list."""

from __future__ import annotations

import torch

from .paged import attend


def run(*arguments: torch.Tensor) -> list[torch.Tensor]:
    return list(attend(*arguments))
