"""A thread that it starts when it is imported keeps a processor busy: the honest control and the
reference, which are timed before it has its turn, look slow.
"""

from __future__ import annotations

import threading
import time

import torch

from .tools import mark, rmsnorm

STOPPED_S = 0.05  # such a gap shows that it was stopped
LONG_S = 0.5  # so long there is between its import and its turn
_seen = {"start": time.monotonic(), "last": time.monotonic(), "gap": 0.0}
_end = threading.Event()


def _burn() -> None:
    a = torch.ones(64, 64)
    while not _end.is_set():
        now = time.monotonic()
        _seen["gap"], _seen["last"] = max(_seen["gap"], now - _seen["last"]), now
        torch.mm(a, a)


threading.Thread(target=_burn, daemon=True).start()


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _end.is_set():
        _end.set()
        took = _seen["last"] - _seen["start"]
        if took > LONG_S and _seen["gap"] < STOPPED_S:
            mark("never_stopped", f"{took:.2f} s, longest gap {_seen['gap']:.3f} s")
    return rmsnorm(hidden_states, weight)
