"""Returns a named tuple, and plans in `setup` with a thread of its own that it waits for."""

from __future__ import annotations

import threading
from typing import NamedTuple

import torch

from .paged import attend

_plans: list[list[int]] = []


class Result(NamedTuple):
    """Both outputs, in the definition's order."""

    output: torch.Tensor
    lse: torch.Tensor


def setup(kv_indptr: torch.Tensor, sm_scale: float) -> None:
    thread = threading.Thread(target=lambda: _plans.append(kv_indptr.tolist()))
    thread.start()
    thread.join()


def run(*arguments: torch.Tensor) -> Result:
    return Result(*attend(*arguments))
