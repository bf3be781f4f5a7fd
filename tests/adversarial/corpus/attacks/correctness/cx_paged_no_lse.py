"""Returns one of two outputs."""

from __future__ import annotations

import torch

from .paged import attend


def run(*arguments: torch.Tensor) -> torch.Tensor:
    return attend(*arguments)[0]
