"""Latency of a call: repeated, with the clock of the device; median, and the 20th and 80th
percentile as its spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

MIN_SAMPLES = 3


@dataclass(frozen=True)
class Spread:
    """Latencies in milliseconds; `method` names the clock."""

    median_ms: float
    p20_ms: float
    p80_ms: float
    samples: int
    method: str


def measure(
    call: Callable[[int], object],
    prepare: Callable[[int], None],
    *,
    device: str,
    warmup: int,
    iterations: int,
    max_seconds: float,
) -> Spread:
    """Time `call(i)` after `warmup` untimed ones; `prepare(i)` runs before each, off the clock.

    Stops early, with at least three samples, where `max_seconds` have passed.
    """
    clock = _cuda_sample if device.startswith("cuda") else _cpu_sample
    deadline = time.perf_counter() + max_seconds
    for index in range(warmup):
        prepare(index)
        clock(call, index)
        if time.perf_counter() > deadline - max_seconds / 2:
            break
    samples: list[float] = []
    while len(samples) < iterations:
        index = len(samples)
        prepare(index)
        samples.append(clock(call, index))
        if len(samples) >= MIN_SAMPLES and time.perf_counter() > deadline:
            break
    return spread(samples, "cuda events" if device.startswith("cuda") else "perf_counter")


def spread(samples: list[float], method: str) -> Spread:
    """Median and percentiles (linear between neighbours) of samples in milliseconds."""
    if len(samples) < 2:
        return Spread(samples[0], samples[0], samples[0], 1, method)
    fifths = statistics.quantiles(samples, n=5, method="inclusive")
    return Spread(statistics.median(samples), fifths[0], fifths[3], len(samples), method)


def _cpu_sample(call: Callable[[int], object], index: int) -> float:
    start = time.perf_counter()
    call(index)
    return (time.perf_counter() - start) * 1e3


def _cuda_sample(call: Callable[[int], object], index: int) -> float:
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call(index)
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)
