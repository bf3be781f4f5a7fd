"""Medians, their uncertainty, and when enough is measured."""

from __future__ import annotations

import itertools
import random
import statistics
import time

import pytest

from kernelkit.bench.clock.control import Control
from kernelkit.bench.clock.timing import (
    CLOCK_MS,
    ENOUGH,
    HOST_BOUND,
    MIN_SAMPLES,
    measure,
    relative_error,
    settled,
    sound,
    summarize,
)


def test_a_summary_of_known_samples() -> None:
    made = summarize([[1.0, 2.0, 3.0, 4.0, 5.0], [3.0, 3.0, 3.0, 3.0, 13.0]], "x")
    assert (made.median_ms, made.samples, made.trials_ms) == (3.0, 10, [3.0, 3.0])
    assert made.p10_ms < made.median_ms < made.p90_ms
    assert made.to_json()["method"] == "x"


def test_trials_that_disagree_widen_the_uncertainty() -> None:
    tight, apart = [1.0] * 20, [1.2] * 20
    assert summarize([tight, tight], "cuda events").relative_error < 0.01
    assert summarize([tight, apart], "x").relative_error == pytest.approx(0.1 / 1.1)


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    chance = random.Random(0)
    hits, rounds = 0, 400
    for _ in range(rounds):
        samples = [chance.lognormvariate(0.0, 0.3) for _ in range(30)]
        error = relative_error(samples) * statistics.median(samples)
        hits += abs(statistics.median(samples) - 1.0) <= 1.3 * error
    assert hits / rounds > 0.93


def test_too_few_samples_are_wholly_uncertain() -> None:
    assert relative_error([1.0] * 5) == 1.0
    assert relative_error([1.0] * 6) == 0.0


def test_when_a_trial_may_end() -> None:
    assert not settled([1.0] * (MIN_SAMPLES - 1))
    assert settled([1.0] * MIN_SAMPLES)
    assert not settled([1.0, 1.0 + 10 * ENOUGH] * MIN_SAMPLES)


def test_short_calls_on_a_gpu_are_settled_by_what_processes_differ_by() -> None:
    """Ten microseconds, known to half a one: two processes differ by more."""
    samples = [0.0100, 0.0105] * MIN_SAMPLES
    assert settled(samples, "cuda events")
    assert not settled(samples)
    assert not settled(samples[: MIN_SAMPLES - 1], "cuda events")
    long = [value * 100 for value in samples]  # five percent of a millisecond are no noise
    assert not settled(long, "cuda events")


def test_a_call_paced_by_the_host_is_known_no_better_than_processes_agree() -> None:
    """Eager attention with one wait a call: 0.46 and 0.81 ms in two processes of one run."""
    slow, fast = [0.81, 0.83] * 6, [0.46, 0.47] * 6
    assert settled(fast, HOST_BOUND) and not settled([0.4, 0.8] * 6, HOST_BOUND)
    one, other = (summarize([s, s, s], HOST_BOUND) for s in (slow, fast))
    apart = one.median_ms - other.median_ms
    assert apart <= sum(t.median_ms * t.relative_error for t in (one, other))


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", None])
def test_what_is_no_time(value: object) -> None:
    assert not sound(value)


def test_measuring_stops_at_its_limits() -> None:
    times = itertools.cycle([20.0, 30.0])
    made = measure(lambda: next(times), "a clock", l2="warm", warmup=3, iterations=4, max_seconds=9)
    assert (made.samples, made.median_ms, made.method, made.l2) == (4, 25.0, "a clock", "warm")

    def slow() -> float:
        time.sleep(0.02)
        return next(times)

    made = measure(slow, "a clock", l2="warm", warmup=1, iterations=1000, max_seconds=0.1)
    assert 3 <= made.samples < 20


def test_a_cost_of_asking_that_was_measured_too_high_is_lowered() -> None:
    control = Control(None, None, on_cuda=False)  # type: ignore[arg-type]
    control.roundtrip_ms, control.copy_ms = 2.0, 40.0
    assert control.net_ms(50.0, copied=True) == pytest.approx(8.0)
    assert control.net_ms(5.0, copied=True) == CLOCK_MS  # the copy cannot cost 40
    assert (control.roundtrip_ms, control.copy_ms) == (2.0, 3.0)
    assert control.net_ms(50.0, copied=True) == pytest.approx(45.0)
    assert control.net_ms(1.0, copied=False) == CLOCK_MS
    assert (control.roundtrip_ms, control.copy_ms) == (1.0, 0.0)
    assert control.net_ms(5.0, copied=False) == pytest.approx(4.0)
