"""Times of calls in this process: kernelkit's sampler, on a cold L2, without the host's share."""

from __future__ import annotations

import time
from collections.abc import Callable

from kernelkit.bench.clock.timing import Flusher, Timing, cuda_sampler, measure

HEAD_START_CYCLES = 800_000  # about 0.4 ms in which the host queues the call that is timed
WARMUP = 3


class Waiting(Flusher):
    """Empties the cache, then lets the device wait: a call's launches are queued by then, so that
    its time is the device's alone."""

    def flush(self) -> None:
        """Queue both."""
        super().flush()
        if self.buffer is not None:
            import torch

            torch.cuda._sleep(HEAD_START_CYCLES)


def sampler(call: Callable[[], object], flusher: Flusher) -> Callable[[], float]:
    """Milliseconds of one call: by events on a GPU, else by the wall clock."""
    if flusher.buffer is not None:
        return cuda_sampler(call, flusher)

    def sample() -> float:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3

    return sample


def timed(
    call: Callable[[], object], flusher: Flusher, iterations: int, max_seconds: float
) -> Timing:
    """The timing of trusted code."""
    cold = flusher.buffer is not None
    return measure(
        sampler(call, flusher), "cuda events" if cold else "wall clock",
        l2="cold" if cold else "warm", warmup=WARMUP, iterations=iterations,
        max_seconds=max_seconds,
    )  # fmt: skip
