"""Waits for nothing: a host thread launches the work after the call has returned."""

from __future__ import annotations

import threading
import time

import torch

from .tools import rmsnorm


def _work(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    time.sleep(2e-4)
    with torch.cuda.stream(torch.cuda.Stream()):
        output.copy_(rmsnorm(hidden_states, weight))


def run(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    threading.Thread(target=_work, args=(hidden_states, weight, output)).start()
