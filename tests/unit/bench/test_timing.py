"""The timing loop: counts, limits, percentiles."""

from __future__ import annotations

import time

import pytest

from kernelkit.bench.timing import MIN_SAMPLES, measure, spread


def _measure(seconds: float, **changes: object) -> tuple[object, list[str]]:
    events: list[str] = []

    def call(index: int) -> None:
        events.append(f"call {index}")
        time.sleep(seconds)

    options = {"device": "cpu", "warmup": 2, "iterations": 4, "max_seconds": 10.0, **changes}
    return measure(call, lambda index: events.append(f"prepare {index}"), **options), events


def test_warmup_then_samples_each_prepared() -> None:
    result, events = _measure(0.0)
    assert result.samples == 4
    assert events == [
        f"{word} {index}" for index in (0, 1, 0, 1, 2, 3) for word in ("prepare", "call")
    ]


def test_time_is_milliseconds_of_the_call_alone() -> None:
    result, _ = _measure(0.02)
    assert 20.0 <= result.median_ms < 200.0
    assert result.p20_ms <= result.median_ms <= result.p80_ms
    assert result.method == "perf_counter"


def test_the_limit_leaves_at_least_three_samples() -> None:
    result, events = _measure(0.03, iterations=1000, max_seconds=0.01)
    assert result.samples == MIN_SAMPLES
    assert events.count("call 0") == 2  # one of the warm-up, one timed


def test_percentiles() -> None:
    result = spread([float(value) for value in range(1, 12)], "clock")
    assert (result.p20_ms, result.median_ms, result.p80_ms) == (3.0, 6.0, 9.0)
    assert spread([4.0], "clock").p80_ms == 4.0


@pytest.mark.gpu
def test_device_events_see_the_kernels() -> None:
    import torch

    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    result = measure(
        lambda index: a @ a, lambda index: None,
        device="cuda", warmup=3, iterations=10, max_seconds=5.0,
    )  # fmt: skip
    flops = 2 * 4096**3 / (result.median_ms * 1e-3)
    assert 1e12 < flops < 3e15  # no GPU computes faster; an event around nothing would say so
    assert result.method == "cuda events"
