"""Faster, same or slower: against the measured noise, and nothing is decided without it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from kernelkit.report.against import Result, compare, noise_of
from kernelkit.report.rows import Row


def _row(latency: float | None, noise: float | None = 0.01, **other: Any) -> Row:
    facts: dict[str, Any] = {
        "op_type": "gemm", "definition": "d", "solution": "s", "workload": "w", "axes": {"M": 1},
        "status": "RUNTIME_ERROR" if latency is None else "PASSED", "hardware": "GPU",
        "timestamp": "2026-01-01", "log": "", "latency_ms": latency, "relative_error": noise,
    }  # fmt: skip
    return Row(**{**facts, **other})


def _compare(a: list[Row], b: list[Row], **options: Any) -> Result:
    """Rows of the same place in the lists are compared."""
    sides = ({(str(i),): row for i, row in enumerate(side)} for side in (a, b))
    return compare(*sides, **options)


@pytest.mark.parametrize(
    ("a", "b", "noise", "verdict"),
    [
        (1.0, 1.0, 0.0, "same"),
        (1.0, 0.5, 0.01, "faster"),
        (1.0, 2.0, 0.01, "slower"),
        (1.0, 1.015, 0.01, "same"),  # the intervals overlap
        (1.0, 1.03, 0.01, "slower"),
        (1.0, 0.97, 0.01, "faster"),
        (1.0, 0.985, 0.01, "same"),
        (1.0, 1.005, 0.0, "same"),  # below the least change
        (1.0, 1.011, 0.0, "slower"),
        (1.0, 0.5, 0.4, "same"),  # nothing is known so well
        (1.0, 0.5, 1.0, "undecided"),  # too few samples
        (1.0, 0.5, None, "undecided"),
    ],
)
def test_one_workload(a: float, b: float, noise: float | None, verdict: str) -> None:
    result = _compare([_row(a, noise)], [_row(b, noise)])
    assert result.comparisons[0].verdict == verdict
    assert result.verdict == verdict


def test_the_verdict_turns_with_the_sides() -> None:
    for seed in range(200):
        draw = random.Random(seed)
        one = _row(draw.uniform(0.9, 1.1), draw.uniform(0, 0.05))
        two = _row(draw.uniform(0.9, 1.1), draw.uniform(0, 0.05))
        there = _compare([one], [two]).comparisons[0].verdict
        back = _compare([two], [one]).comparisons[0].verdict
        assert back == {"faster": "slower", "slower": "faster", "same": "same"}[there]


def test_the_same_kernel_twice_is_the_same() -> None:
    """Medians of 50 samples with 5 % of noise, the error as the evaluator computes it."""
    from statistics import median

    from kernelkit.bench.clock.timing import relative_error

    wrong = 0
    for seed in range(300):
        draw = random.Random(seed)
        sides = []
        for _ in range(2):
            samples = [draw.gauss(1.0, 0.05) for _ in range(50)]
            sides.append(_row(median(samples), relative_error(samples)))
        wrong += _compare([sides[0]], [sides[1]]).verdict != "same"
    assert wrong <= 6  # 2 %


def test_a_change_of_twice_the_noise_is_seen() -> None:
    from statistics import median

    from kernelkit.bench.clock.timing import relative_error

    seen = 0
    for seed in range(100):
        draw = random.Random(seed)
        sides = []
        for centre in (1.0, 1.1):
            samples = [draw.gauss(centre, 0.05) for _ in range(50)]
            sides.append(_row(median(samples), relative_error(samples)))
        seen += _compare([sides[0]], [sides[1]]).verdict == "slower"
    assert seen >= 95


def test_noise_falls_back_to_the_spread_and_then_to_what_is_said() -> None:
    assert noise_of(_row(1.0, 0.02, p10_ms=0.5, p90_ms=1.5)) == 0.02
    assert noise_of(_row(1.0, None, p10_ms=0.8, p90_ms=1.4)) == pytest.approx(0.3)
    assert noise_of(_row(1.0, None)) is None
    assert noise_of(_row(1.0, None), 0.05) == 0.05
    result = _compare([_row(1.0, None)], [_row(1.2, None)], assumed_noise=0.02)
    assert result.verdict == "slower"


def test_the_least_change_can_be_set() -> None:
    sides = [_row(1.0, 0.001)], [_row(1.03, 0.001)]
    assert _compare(*sides).verdict == "slower"
    assert _compare(*sides, least=0.05).verdict == "same"


def test_failures_are_not_forgotten() -> None:
    good, bad = _row(1.0), _row(None)
    assert _compare([good], [bad]).verdict == "slower"
    assert _compare([bad], [good]).verdict == "faster"
    assert _compare([bad], [bad]).verdict == "both failed"
    # Ten times faster on one workload does not make up for a wrong one.
    result = _compare([good, good], [_row(0.1), bad])
    assert result.verdict == "slower" and "B fails 1" in result.why
    assert _compare([good, bad], [good, good]).verdict == "faster"
    assert _compare([good, bad], [_row(2.0), good]).verdict == "slower"


def test_over_all_the_geometric_mean_decides() -> None:
    result = _compare([_row(1.0)] * 3, [_row(0.5), _row(1.0), _row(2.0)])
    assert (result.verdict, result.speedup) == ("same", pytest.approx(1.0))
    assert result.counts == {"faster": 1, "same": 1, "slower": 1}
    assert _compare([_row(1.0)] * 3, [_row(0.5), _row(1.0), _row(1.1)]).verdict == "faster"
    # Many workloads do not shrink the noise: they may share its cause.
    assert _compare([_row(1.0)] * 100, [_row(1.015)] * 100).verdict == "same"


def test_one_workload_of_unknown_noise_leaves_it_open() -> None:
    result = _compare([_row(1.0), _row(1.0, None)], [_row(0.5), _row(0.5, None)])
    assert (result.verdict, result.counts) == ("undecided", {"faster": 1, "undecided": 1})


def test_what_is_on_one_side_only_is_counted() -> None:
    one, two = {("x",): _row(1.0), ("y",): _row(1.0)}, {("x",): _row(1.0), ("z",): _row(1.0)}
    result = compare(one, two)
    assert (len(result.comparisons), result.only_a, result.only_b) == (1, 1, 1)


def test_a_pass_without_a_latency_is_undecided() -> None:
    assert _compare([_row(None, status="PASSED")], [_row(1.0)]).verdict == "undecided"


def test_json_tells_the_rule() -> None:
    plain = json.loads(json.dumps(_compare([_row(1.0)], [_row(0.5)]).to_json(), allow_nan=False))
    assert plain["verdict"] == "faster" and plain["comparisons"][0]["speedup"] == 2.0
    assert "1.0%" in plain["rule"] and "do not overlap" in plain["rule"]
