"""Numbers of a timing by hand: each figure that a trace holds, and each limit of the stop rule."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from kernelkit.bench.clock import timing
from kernelkit.bench.clock.timing import Flusher, measure, relative_error, settled, summarize


def test_quantiles_of_a_ramp() -> None:
    made = summarize([[float(value) for value in range(11)], [], [float(v) for v in range(11, 21)]],
                     "cuda events", l2="warm", extra={"gate": 1})  # fmt: skip
    assert (made.median_ms, made.p10_ms, made.p90_ms) == (10.0, 2.0, 18.0)
    assert (made.samples, made.trials_ms, made.l2) == (21, [5.0, 15.5], "warm")
    assert made.to_json()["gate"] == 1 and "extra" not in made.to_json()


def test_of_one_and_of_two_samples() -> None:
    one = summarize([[3.0]], "cuda events")
    assert (one.median_ms, one.p10_ms, one.p90_ms, one.relative_error) == (3.0, 3.0, 3.0, 1.0)
    two = summarize([[3.0, 4.0]], "cuda events")
    assert (two.p10_ms, two.p90_ms) == (pytest.approx(3.1), pytest.approx(3.9))


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # (n - 1) / 2 -+ 1.96 sqrt(n) / 2, outwards to whole places, counted from 0
        (6, 0, 5),
        (8, 0, 7),
        (16, 3, 12),
        (30, 9, 20),
        (100, 39, 60),
    ],
)
def test_the_interval_of_a_median_by_its_places(count: int, low: int, high: int) -> None:
    """Squares: each place has its own value, and no two intervals are of one length."""
    samples = [float(place**2) for place in range(1, count + 1)]
    middle = (samples[count // 2 - 1] + samples[count // 2]) / 2
    expected = (samples[high] - samples[low]) / 2 / middle
    assert relative_error(samples[::-1]) == pytest.approx(expected, rel=1e-12)


def test_what_trials_share_is_half_their_range() -> None:
    assert timing._between([2.0]) == 0.0
    assert timing._between([2.0, 3.0]) == pytest.approx(0.5 / 2.5)
    assert timing._between([2.0, 6.0, 3.0]) == pytest.approx(2.0 / 3.0)


@pytest.mark.parametrize(
    ("method", "median_ms", "expected"),
    [
        ("wall clock", 0.5, 0.1),
        ("wall clock", 10.0, 0.05),
        ("cuda events", 0.01, 0.15),
        ("cuda events", 10.0, 0.005),
    ],
)
def test_what_processes_differ_by(method: str, median_ms: float, expected: float) -> None:
    """Of A/A runs: 0.05 ms or 5 % by the wall clock; 1.5 us or 0.5 % on a GPU."""
    assert summarize([[median_ms] * 40], method).relative_error == pytest.approx(expected)


def test_how_many_samples_a_trial_has_at_least() -> None:
    assert [settled([1.0] * count) for count in (9, 10)] == [False, True]


@pytest.mark.parametrize(
    ("spread", "method", "enough"),
    [
        (0.0099, "wall clock", True),
        (0.0101, "wall clock", False),
        (0.0099, "cuda events", True),
        (0.0101, "cuda events", False),
    ],
)
def test_a_median_is_known_to_one_percent(spread: float, method: str, enough: bool) -> None:
    samples = [1.0 - spread] * 10 + [1.0] + [1.0 + spread] * 10
    assert relative_error(samples) == pytest.approx(spread)
    assert settled(samples, method) is enough


def test_a_limit_that_is_met_is_not_yet_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "relative_error", lambda samples: 0.01)
    assert not settled([1.0] * 20)


@pytest.mark.parametrize(("spread", "enough"), [(0.074, True), (0.076, False)])
def test_a_short_call_on_a_gpu_is_known_to_half_of_1500_ns(spread: float, enough: bool) -> None:
    samples = [0.01 * (1 - spread)] * 10 + [0.01] + [0.01 * (1 + spread)] * 10
    assert settled(samples, "cuda events") is enough


def test_times_below_a_millisecond_are_times() -> None:
    assert timing.sound(1e-6) is True and timing.sound(1) is True
    assert timing.sound(0) is False and timing.sound(math.inf) is False


class _Clock:
    """A clock that a call moves on by `step_s`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
        self.now_s, self.step_s, self.calls = 100.0, step_s, 0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now_s)

    def sample(self) -> float:
        self.calls += 1
        self.now_s += self.step_s
        return float(self.calls)


@pytest.mark.parametrize(
    ("step_s", "warmup", "calls", "samples"),
    [
        (1.0, 2, 2 + 4, 4),  # all that was asked for
        (1.0, 9, 6 + 4, 4),  # warming ends once half of 10 s is over, at 6; then all
        (3.0, 1, 1 + 3, 3),  # 10 s are over after the third
        (4.0, 1, 1 + 3, 3),  # over before, but three there are
        (9.0, 0, 3, 3),
    ],
)
def test_when_measuring_stops(
    monkeypatch: pytest.MonkeyPatch, step_s: float, warmup: int, calls: int, samples: int
) -> None:
    clock = _Clock(monkeypatch, step_s)
    made = measure(
        clock.sample, "a clock", l2="cold", warmup=warmup, iterations=4, max_seconds=10.0
    )
    assert (clock.calls, made.samples) == (calls, samples)


def test_measuring_stops_once_settled() -> None:
    made = measure(lambda: 2.0, "wall clock", l2="cold", warmup=0, iterations=99, max_seconds=60.0)
    assert (made.samples, made.median_ms) == (10, 2.0)


def test_nothing_is_flushed_on_a_cpu() -> None:
    flusher = Flusher("cpu")
    flusher.flush()
    assert flusher.buffer is None


def test_a_gpu_s_cache_is_overwritten_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    made = []
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=50)
    )
    monkeypatch.setattr(torch, "empty", lambda size, **facts: made.append((size, facts)))
    Flusher("cuda:1")
    assert made == [(100, {"dtype": torch.uint8, "device": "cuda:1"})]


def test_a_gpu_sample_is_the_call_alone_between_its_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    happened: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            happened.append("event")

        def elapsed_time(self, end: Event) -> float:
            assert end is not self
            return 7.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: happened.append("wait"))
    flusher = SimpleNamespace(flush=lambda: happened.append("flush"))
    sample = timing.cuda_sampler(lambda: happened.append("call"), flusher)  # type: ignore[arg-type]
    assert sample() == 7.0
    assert happened == ["flush", "event", "call", "event", "wait"]


def test_a_microsecond_is_the_least_of_a_host_s_clock() -> None:
    assert timing.CLOCK_MS == 0.001


def test_a_flush_writes_the_whole_buffer_anew() -> None:
    torch = pytest.importorskip("torch")
    flusher = Flusher("cpu")
    flusher.buffer = torch.zeros(8, dtype=torch.uint8)
    seen = []
    for _ in range(260):
        flusher.flush()
        seen.append(flusher.buffer.tolist())
    assert all(len(set(bytes_)) == 1 for bytes_ in seen)
    assert all(one != other for one, other in zip(seen, seen[1:], strict=False))
