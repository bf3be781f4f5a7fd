"""A right output, and an LSE of zeros."""

from __future__ import annotations

import torch

from .paged import attend


def run(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    output, lse = attend(*arguments)
    return output, torch.zeros_like(lse)
