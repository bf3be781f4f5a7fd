"""Threads that live from call to call, idle between them, each for half of the rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

_pool = ThreadPoolExecutor(2)


def _rows(x: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    wide = x.to(torch.float32)
    scale = torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + 1e-6)
    output.copy_(wide * scale * weight.to(torch.float32))


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    halves = zip(hidden_states.chunk(2), output.chunk(2), strict=True)
    for future in [_pool.submit(_rows, x, weight, y) for x, y in halves]:
        future.result()
