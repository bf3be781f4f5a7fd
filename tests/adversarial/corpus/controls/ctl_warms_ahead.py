"""Prepares what it needs in a thread, from its import on; the first call waits for it."""

from __future__ import annotations

import threading
import time

import torch

_ready: list[float] = []


def _prepare() -> None:
    for _ in range(20):
        time.sleep(0.02)
    _ready.append(1e-6)


_thread = threading.Thread(target=_prepare)
_thread.start()


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    _thread.join()
    x = hidden_states.to(torch.float32)
    scale = torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + _ready[0])
    return (x * scale * weight.to(torch.float32)).to(hidden_states.dtype)
