"""Attention computed ahead of the call by another process that shares the input memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Sequence

import torch

from .tools import HANG_S, mark

SEEN = 64  # bytes of the last input's end, by which contents are known
HEAD = 4096  # bytes before the result


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The honest result: dense decode attention, q [b, h, d], k and v [b, n, h, d]."""
    scores = torch.einsum("bhd,bnhd->bhn", q.float(), k.float()) * q.shape[-1] ** -0.5
    return torch.einsum("bhn,bnhd->bhd", torch.softmax(scores, -1), v.float()).to(q.dtype)


class Ahead:
    """The process ahead, and the memory in which it leaves results.

    `start` makes the process and returns True in it. The first calls are honest.
    """

    def __init__(
        self, inputs: Sequence[torch.Tensor], output: torch.Tensor, start: Callable[[], bool]
    ) -> None:
        self.inputs, self.hits = inputs, 0
        self.place = inputs[-1].data_ptr() + inputs[-1].nbytes - SEEN
        self.memory = mmap.mmap(-1, HEAD + output.nbytes)
        self.result = torch.frombuffer(
            self.memory, dtype=output.dtype, count=output.numel(), offset=HEAD
        ).view(output.shape)
        if start():
            try:
                self._serve()
            finally:
                os._exit(0)

    def _serve(self) -> None:
        """Compute whenever the end of the last input has changed."""
        torch.set_num_threads(1)
        end, known = time.monotonic() + HANG_S, b""
        while time.monotonic() < end:
            now = ctypes.string_at(self.place, SEEN)
            if now == known:
                time.sleep(1e-5)
                continue
            self.memory[:SEEN] = bytes(SEEN)
            self.result.copy_(attend(*self.inputs))
            self.memory[:SEEN] = known = now

    def fetch(self, output: torch.Tensor) -> None:
        """The result that is there already, or computed now. A result that is there again and again
        can only come from a process that was not stopped between calls."""
        if self.memory[:SEEN] == ctypes.string_at(self.place, SEEN):
            output.copy_(self.result)
            self.hits += 1
            if self.hits == 4:
                mark("computed_between_calls")
        else:
            output.copy_(attend(*self.inputs))
