"""Geometric means, fast_p and win@p, with failures and gaps counting as zero."""

from __future__ import annotations

import math
import random

import pytest

from kernelkit.report.rows import Row, relate
from kernelkit.report.scores import by_author, by_solution, geometric_mean, share_above


def _row(solution: str, workload: str, latency: float | None, **other: object) -> Row:
    """A row whose reference takes 1 ms."""
    facts = {
        "op_type": "gemm", "definition": "d", "axes": {"M": 1}, "hardware": "GPU",
        "timestamp": "2026-01-01", "log": "", "author": solution[0],
        "status": "TIMEOUT" if latency is None else "PASSED",
        "latency_ms": latency, "reference_ms": latency and 1.0,
        "speedup": latency and 1 / latency,
    }  # fmt: skip
    return Row(solution=solution, workload=workload, **{**facts, **other})


def test_geometric_mean_is_the_mean_of_quotients() -> None:
    assert geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
    assert geometric_mean([2.0, None, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([None, 0.0, math.inf, math.nan]) is None
    assert geometric_mean([1e300] * 2000) == pytest.approx(1e300)  # a product would overflow


def test_geometric_mean_of_inverses_is_the_inverse() -> None:
    values = [random.Random(1).lognormvariate(0, 2) for _ in range(50)]
    assert geometric_mean(values) * geometric_mean(1 / v for v in values) == pytest.approx(1.0)


def test_share_above_is_strict_and_of_all() -> None:
    assert share_above([1.0, 1.0001, None], 1.0, 4) == 0.25
    assert share_above([], 1.0, 0) == 0.0


def test_a_failure_counts_as_zero_everywhere() -> None:
    rows = relate([_row("a", "1", 0.5), _row("a", "2", 0.1), _row("a", "3", None)])
    (score,) = by_solution(rows, {"d": 3})
    assert (score.passed, score.failed, score.not_run, score.workloads) == (2, 1, 0, 3)
    assert score.geomean == 0.0
    assert score.geomean_passed == pytest.approx(math.sqrt(20))
    assert score.fast_p == {0.5: 2 / 3, 1.0: 2 / 3, 1.5: 2 / 3, 2.0: 1 / 3, 5.0: 1 / 3, 10.0: 0.0}
    assert set(score.win_p.values()) == {2 / 3}  # the best of its workloads, where it is right


def test_a_workload_that_was_not_run_counts_as_zero_in_shares() -> None:
    (score,) = by_solution(relate([_row("a", "1", 0.1)]), {"d": 4})
    assert (score.not_run, score.geomean) == (3, pytest.approx(10.0))
    assert score.fast_p[5.0] == 0.25
    assert set(score.win_p.values()) == {0.25}


def test_win_is_against_the_best_or_the_baseline() -> None:
    rows = [_row("a", "1", 1.0), _row("b", "1", 2.0), _row("a", "2", 3.0), _row("b", "2", 2.4)]
    a, b = sorted(by_solution(relate(rows), {"d": 2}), key=lambda s: s.name)
    assert a.wins == pytest.approx((0.8, 1.0))
    assert b.wins == pytest.approx((0.5, 1.0))
    assert (b.win_p[0.5], b.win_p[0.8]) == (0.5, 0.5)  # 0.5 is not above 0.5
    scores = by_solution(relate(rows, "a"), {"d": 2}, baseline="a")
    a, b = sorted(scores, key=lambda s: s.name)
    assert b.wins == pytest.approx((0.5, 1.25))
    assert b.geomean_vs_baseline == pytest.approx(math.sqrt(0.625))
    assert (a.win_p[0.5], a.win_p[1.0]) == (1.0, 0.0)


def test_without_a_result_of_the_baseline_the_best_takes_its_place() -> None:
    rows = [_row("a", "1", None), _row("b", "1", 2.0), _row("c", "1", 1.0)]
    scores = by_solution(relate(rows, "a"), {"d": 1}, baseline="a")
    assert {s.name: s.wins for s in scores} == {"a": (), "b": (0.5,), "c": (1.0,)}


def test_the_best_solution_comes_first_and_failures_go_down() -> None:
    rows = [_row("fast", "1", 0.01), _row("fast", "2", None), _row("right", "1", 1.0),
            _row("right", "2", 1.0), _row("quick", "1", 0.5), _row("quick", "2", 0.5)]  # fmt: skip
    assert [s.name for s in by_solution(relate(rows), {"d": 2})] == ["quick", "right", "fast"]


def test_hardware_and_definitions_are_apart() -> None:
    rows = [_row("a", "1", 1.0), _row("a", "1", 2.0, hardware="Other"),
            _row("a", "1", 4.0, definition="e")]  # fmt: skip
    found = by_solution(relate(rows), {"d": 1, "e": 1})
    assert [(s.definition, s.hardware, s.geomean) for s in found] == [
        ("d", "GPU", 1.0), ("d", "Other", 0.5), ("e", "GPU", 0.25),
    ]  # fmt: skip


def test_an_authors_fastest_right_solution_counts() -> None:
    rows = [_row("x1", "1", 4.0), _row("x2", "1", 0.5), _row("x3", "1", None),
            _row("x1", "2", None), _row("y1", "1", 1.0)]  # fmt: skip
    x, y = sorted(by_author(relate(rows), {"d": 3}), key=lambda s: s.name)
    assert (x.name, x.passed, x.failed, x.not_run) == ("x", 1, 1, 1)
    assert x.geomean_passed == pytest.approx(2.0)
    assert x.fast_p[1.0] == pytest.approx(1 / 3)
    assert (y.passed, y.failed, y.not_run) == (1, 0, 2)


def test_an_author_is_measured_on_the_definitions_tried() -> None:
    rows = [_row("x", "1", 1.0), _row("y", "1", 1.0), _row("y", "1", 1.0, definition="e")]
    x, y = sorted(by_author(relate(rows), {"d": 5, "e": 7}), key=lambda s: s.name)
    assert (x.workloads, y.workloads) == (5, 12)
