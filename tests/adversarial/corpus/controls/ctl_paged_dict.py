"""Paged decode attention, both outputs by name, in another order."""

from __future__ import annotations

import torch

from .paged import attend


def run(*arguments: torch.Tensor) -> dict[str, torch.Tensor]:
    output, lse = attend(*arguments)
    return {"lse": lse, "output": output}
