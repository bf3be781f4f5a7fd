"""Latencies: cold L2, median with its spread and uncertainty, and when to stop."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MIN_SAMPLES = 10  # of a trial, before the stop rule may end it
LEAST_MS, MOST_MS = 1e-6, 1e12  # that a process may claim of a call
CLOCK_MS = 1e-3  # of the orchestrator's clock: no CPU sample is below it
ENOUGH = 0.01  # relative error of the median at which more samples are not worth their time
FLUSH_L2_SIZES = 2  # bytes written to empty the cache, in sizes of the L2
# What differs between two processes that run the same code, and no sampling in one can show: where
# memory came to lie, how launches fell. From A/A runs (tests/benchmarks/same_against_same.py).
# A call that waits for the device within itself is paced by its CPU: up to 1.8 times as slow in one
# process as in another.
HOST_BOUND = "cuda events, host-bound"
PROCESS_MS = {"wall clock": 0.05}
PROCESS_MS_ON_GPU = 0.0015
PROCESS_SHARE = {"wall clock": 0.05, HOST_BOUND: 0.3}
PROCESS_SHARE_ON_GPU = 0.005
CONFIDENCE = 1.96  # normal deviate of a two-sided 95 % interval


@dataclass(frozen=True)
class Timing:
    """Latencies of one workload in milliseconds; `relative_error` is half the 95 % confidence
    interval of the median, as a fraction of it."""

    method: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    relative_error: float
    samples: int
    trials_ms: list[float]
    l2: str = "cold"
    host_overhead_ms: float | None = None
    setup_ms: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `extra` beside the rest."""
        plain = asdict(self)
        return {**{k: v for k, v in plain.items() if k != "extra"}, **plain["extra"]}


def summarize(trials: list[list[float]], method: str, **facts: Any) -> Timing:
    """The timing of samples in milliseconds, trial by trial."""
    samples = sorted(sample for trial in trials for sample in trial)
    tenths = samples * 9  # of a single one
    if len(samples) > 1:
        tenths = statistics.quantiles(samples, n=10, method="inclusive")
    medians = [statistics.median(trial) for trial in trials if trial]
    return Timing(
        method=method,
        median_ms=statistics.median(samples),
        p10_ms=tenths[0],
        p90_ms=tenths[8],
        relative_error=max(relative_error(samples), _between(medians), _process(samples, method)),
        samples=len(samples),
        trials_ms=medians,
        **facts,
    )


def relative_error(samples: list[float]) -> float:
    """Half the 95 % confidence interval of the median over the median.

    The interval's ends are order statistics (binomial, normal approximation): nothing is assumed
    of the distribution. Conover, Practical Nonparametric Statistics, section 3.2. 1.0 for fewer
    than six samples, of which no such interval can be had.
    """
    ordered, count = sorted(samples), len(samples)
    if count < 6:
        return 1.0
    reach = CONFIDENCE * math.sqrt(count) / 2
    low, high = math.floor((count - 1) / 2 - reach), math.ceil((count - 1) / 2 + reach)
    return (ordered[high] - ordered[low]) / 2 / statistics.median(ordered)


def _between(medians: list[float]) -> float:
    """Half the range of the trials' medians over their median: what calls of one trial share."""
    return (max(medians) - min(medians)) / 2 / statistics.median(medians)


def _process(samples: list[float], method: str) -> float:
    """The uncertainty between processes, as a fraction of the median."""
    least_ms = PROCESS_MS.get(method, PROCESS_MS_ON_GPU)
    share = PROCESS_SHARE.get(method, PROCESS_SHARE_ON_GPU)
    return max(share, least_ms / statistics.median(samples))


def settled(samples: list[float], method: str = "wall clock") -> bool:
    """Whether a trial may end early: the median is known to ENOUGH; or, on a GPU, twice as well as
    two processes with the same code agree, which no more samples of one can better."""
    if len(samples) < MIN_SAMPLES:
        return False
    enough = ENOUGH if method in PROCESS_MS else max(ENOUGH, _process(samples, method) / 2)
    return relative_error(samples) < enough


def sound(sample: float) -> bool:
    """Whether a sample can be a time: no clock here sees less than a nanosecond, and no float holds
    every integer."""
    return isinstance(sample, (int, float)) and LEAST_MS <= sample <= MOST_MS


class Flusher:
    """Empties the device's L2 cache by writing a buffer twice its size; on a CPU nothing."""

    def __init__(self, device: str) -> None:
        self.buffer: torch.Tensor | None = None
        self.round = 0
        if device.startswith("cuda"):
            import torch

            size = FLUSH_L2_SIZES * torch.cuda.get_device_properties(device).L2_cache_size
            self.buffer = torch.empty(size, dtype=torch.uint8, device=device)

    def flush(self) -> None:
        """Queue the writing."""
        if self.buffer is not None:
            self.round = (self.round + 1) % 251
            self.buffer.fill_(self.round)


def measure(
    sample: Callable[[], float],
    method: str,
    *,
    l2: str,
    warmup: int,
    iterations: int,
    max_seconds: float,
) -> Timing:
    """Time trusted code; `sample` makes a call and gives its milliseconds. Stops when settled, or
    after `max_seconds`."""
    deadline = time.perf_counter() + max_seconds
    for _ in range(warmup):
        sample()
        if time.perf_counter() > deadline - max_seconds / 2:
            break
    samples: list[float] = []
    while len(samples) < iterations and not settled(samples, method):
        samples.append(sample())
        if len(samples) >= 3 and time.perf_counter() > deadline:
            break
    return summarize([samples], method, l2=l2)


def cuda_sampler(call: Callable[[], object], flusher: Flusher) -> Callable[[], float]:
    """Samples of `call` by events of this process, on a cold L2."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def sample() -> float:
        flusher.flush()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)

    return sample
