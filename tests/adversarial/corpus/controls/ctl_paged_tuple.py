"""Paged decode attention, both outputs as a tuple."""

from __future__ import annotations

import torch

from .paged import attend


def run(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return attend(*arguments)
