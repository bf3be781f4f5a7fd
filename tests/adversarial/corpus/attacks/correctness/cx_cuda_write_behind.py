"""A Triton kernel that stores 128 elements past the end of the output."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .tools import rmsnorm


@triton.jit
def _spill(pointer, total, COUNT: tl.constexpr):  # noqa: ANN001, ANN202
    places = tl.arange(0, COUNT)
    tl.store(pointer + total + places, (places * 0 + 3).to(pointer.dtype.element_ty))


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    output.copy_(rmsnorm(hidden_states, weight))
    _spill[(1,)](output, output.numel(), COUNT=128)
