"""A row says what its trace says, whoever wrote it, and how it stands to the others."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from kernelkit.dataset.trace import Trace
from kernelkit.ops import rmsnorm
from kernelkit.report.rows import make_rows, moment, relate

NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
DEFINITIONS = {NORM.name: NORM}
MakeTrace = Callable[..., Trace]


def test_a_row_has_rates_from_the_familys_cost(make_trace: MakeTrace) -> None:
    (row,) = make_rows([make_trace("s", 0.5, rows=7)], DEFINITIONS)
    moved = 2 * (7 * 4096 * 2 + 4096)  # bfloat16: rows in, rows out, weight
    assert row.gb_per_s == pytest.approx(moved / 0.5e-3 / 1e9)
    assert row.tflop_per_s == pytest.approx(4 * 7 * 4096 / 0.5e-3 / 1e12)
    assert row.speedup == pytest.approx(4.0)
    assert (row.p10_ms, row.p90_ms) == pytest.approx((0.45, 0.55))
    assert row.axes == {"batch_size": 7}
    assert row.limit is row.percent_of_limit is None  # nobody measured the device


def test_the_evaluators_facts_are_read(make_trace: MakeTrace) -> None:
    extra = {
        "evaluator": "kernelkit", "seed": 5,
        "timing": {"method": "cuda events", "p10_ms": 0.4, "p90_ms": 0.7, "relative_error": 0.02,
                   "l2": "cold", "setup_ms": 3.0, "host_overhead_ms": 0.01},
        "speed_of_light": {"bytes_moved": 1e9, "flops": 4e9, "limit": "memory", "limit_ms": 0.25,
                           "gb_per_s": 1.0, "tflop_per_s": 1.0, "percent": 1.0},
    }  # fmt: skip
    log = "solution sha256:0123456789abcdef on cuda\nfine"
    (row,) = make_rows([make_trace("s", 0.5, extra=extra, log=log)], DEFINITIONS, {"s": "me"})
    assert (row.seed, row.evaluator, row.method, row.l2) == (5, "kernelkit", "cuda events", "cold")
    assert (row.relative_error, row.setup_ms, row.host_overhead_ms) == (0.02, 3.0, 0.01)
    assert (row.gb_per_s, row.tflop_per_s) == pytest.approx((2000.0, 8.0))
    assert (row.limit, row.percent_of_limit) == ("memory", pytest.approx(50.0))
    assert (row.author, row.source) == ("me", "0123456789abcdef")


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"timing": [1, 2], "speed_of_light": "fast", "seed": "x", "evaluator": 3},
        {"timing": {"p10_ms": "a", "p90_ms": None, "relative_error": -1, "method": 7}},
        {"timing": {"relative_error": float("nan")}, "seed": True},
        {"speed_of_light": {"limit": "magic", "limit_ms": 1.0, "bytes_moved": "x", "flops": {}}},
        {"speed_of_light": {"limit": "memory", "limit_ms": 0}},
    ],
)
def test_facts_of_another_type_are_none(make_trace: MakeTrace, extra: dict) -> None:
    (row,) = make_rows([make_trace("s", 0.5, extra=extra)], DEFINITIONS)
    assert row.p10_ms is row.relative_error is row.seed is row.limit is row.method is None
    assert row.latency_ms == 0.5
    assert row.gb_per_s is not None


def test_a_trace_of_flashinfer_bench_makes_a_row() -> None:
    line = {
        "definition": NORM.name, "solution": "flashinfer_rmsnorm",
        "workload": {"axes": {"batch_size": 3}, "uuid": "w",
                     "inputs": {"hidden_states": {"type": "random"}, "weight": {"type": "random"}}},
        "evaluation": {
            "status": "PASSED", "log": "", "timestamp": "2025-10-15T11:55:34.123456",
            "environment": {"hardware": "NVIDIA B200", "libs": {"torch": "2.8", "cuda": "12.8"}},
            "correctness": {"max_relative_error": 0.0, "max_absolute_error": 0.0, "extra": None},
            "performance": {"latency_ms": 0.01, "reference_latency_ms": 0.04,
                            "speedup_factor": 4.0},
        },
    }  # fmt: skip
    (row,) = relate(make_rows([Trace.model_validate_json(json.dumps(line))], DEFINITIONS))
    assert (row.speedup, row.vs_best, row.hardware) == (4.0, 1.0, "NVIDIA B200")
    assert row.seed is row.evaluator is row.relative_error is None


def test_a_failure_has_no_numbers(make_trace: MakeTrace) -> None:
    (row,) = relate(make_rows([make_trace("s", None)], DEFINITIONS), "s")
    assert not row.passed
    assert row.latency_ms is row.speedup is row.gb_per_s is row.max_abs is row.vs_best is None


def test_a_latency_of_zero_is_none(make_trace: MakeTrace) -> None:
    (row,) = relate(make_rows([make_trace("s", 0.0)], DEFINITIONS))
    assert row.passed
    assert row.latency_ms is row.speedup is row.gb_per_s is row.vs_best is None


def test_a_trace_of_an_unknown_definition_is_shown(make_trace: MakeTrace) -> None:
    (row,) = make_rows([make_trace("s", 0.5)], {})
    assert (row.op_type, row.gb_per_s, row.latency_ms) == ("unknown", None, 0.5)


def test_foreign_axis_names_give_no_rates(make_trace: MakeTrace) -> None:
    odd = make_trace("s", 0.5)
    odd.workload.axes = {"tokens": 7}
    (row,) = make_rows([odd], DEFINITIONS)
    assert row.gb_per_s is None


def test_the_newest_of_several_counts_and_older_ones_are_counted(make_trace: MakeTrace) -> None:
    traces = [
        make_trace("s", 3.0, when="2026-03-01T00:00:00Z"),
        make_trace("s", 1.0, when="2026-01-01T00:00:00Z"),
        make_trace("s", 2.0, when="2026-02-01T00:00:00Z"),
        make_trace("s", 7.0, hardware="Other GPU"),
        make_trace("s", 8.0, rows=8),
    ]
    rows = make_rows(traces, DEFINITIONS)
    assert [(row.latency_ms, row.older_traces) for row in rows] == [(3.0, 2), (7.0, 0), (8.0, 0)]


def test_time_zones_are_honoured_and_the_later_line_wins_a_tie(make_trace: MakeTrace) -> None:
    pairs = [
        ("2026-01-01T12:00:00+02:00", "2026-01-01T11:00:00Z", 2.0),
        ("2026-01-01T12:00:00", "2026-01-01T11:59:59.5Z", 1.0),
        ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00", 2.0),
        ("once upon a time", "2026-01-01", 2.0),
        ("2026-01-01", "once upon a time", 1.0),
    ]
    for first, second, expected in pairs:
        traces = [make_trace("s", 1.0, when=first), make_trace("s", 2.0, when=second)]
        (row,) = make_rows(traces, DEFINITIONS)
        assert row.latency_ms == expected, (first, second)


def test_a_newer_failure_replaces_an_older_pass(make_trace: MakeTrace) -> None:
    traces = [make_trace("s", 1.0), make_trace("s", None, when="2026-02-01T00:00:00Z")]
    (row,) = make_rows(traces, DEFINITIONS)
    assert (row.status, row.older_traces) == ("RUNTIME_ERROR", 1)


def test_quotients_stay_on_one_workload_and_hardware(make_trace: MakeTrace) -> None:
    traces = [
        make_trace("base", 1.0),
        make_trace("fast", 0.25),
        make_trace("slow", 4.0),
        make_trace("slow", 4.0, rows=8),
        make_trace("fast", 0.1, hardware="Other GPU"),
        make_trace("bad", None),
    ]
    rows = relate(make_rows(traces, DEFINITIONS), "base")
    assert [row.vs_baseline for row in rows] == [1.0, 4.0, 0.25, None, None, None]
    assert [row.vs_best for row in rows] == [0.25, 1.0, 0.0625, 1.0, 1.0, None]


def test_a_moment_is_utc_where_no_zone_is_told() -> None:
    assert moment("1970-01-01T00:01:00") == moment("1970-01-01T00:01:00Z") == 60.0
    assert moment("never") == float("-inf")
