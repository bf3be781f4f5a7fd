"""A summary covers the dataset: rows, gaps, what was chosen, what could not be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.ops import rmsnorm
from kernelkit.report.summary import Selection, summarize

NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
MakeTrace = Callable[..., Trace]


def test_summary(reported: Dataset) -> None:
    summary = summarize(reported)
    assert summary.statuses == {"PASSED": 2, "RUNTIME_ERROR": 1}
    assert summary.without_workloads == summary.without_solutions == ["gemm_n64_k64"]
    assert summary.without_traces == ["gemm_n4096_k4096"]
    assert (summary.definitions, summary.workloads, summary.solutions) == (3, 2, 2)
    assert summary.speedup == pytest.approx(8**0.5)
    assert {s.name: (s.passed, s.workloads) for s in summary.scores}["fast"] == (2, 2)


def test_a_bad_line_is_named_and_hides_no_other(reported: Dataset, make_trace: MakeTrace) -> None:
    path = reported.trace_path(NORM)
    with open(path, "ab") as file:
        file.write(b'{"definition": "x", "workload": 3}\n\xff\xfe{}\n')
    reported.append_traces(NORM, [make_trace("late", 0.1)])
    summary = summarize(reported)
    assert "late" in {row.solution for row in summary.rows}
    places = [text.split(": ")[0] for text in summary.unreadable]
    assert places == [f"traces/rmsnorm/rmsnorm_h4096.jsonl:{line}" for line in (4, 5, 6)]


def test_where_and_when(reported: Dataset, make_trace: MakeTrace) -> None:
    extra = {"evaluator": "kernelkit", "seed": 3, "timing": {"method": "wall clock", "l2": "warm"}}
    late = make_trace("late", 0.1, when="2026-05-01T00:00:00Z", extra=extra)
    other = make_trace("late", 0.1, hardware="Other GPU")
    reported.append_traces(NORM, [late, other])
    first, second = summarize(reported).environments
    assert first == {
        "hardware": "Other GPU", "libs": {"torch": "9.9"}, "evaluators": [], "methods": [],
        "l2": [], "seeds": [], "first": "2026-01-01T00:00:00Z", "last": "2026-01-01T00:00:00Z",
        "traces": 1,
    }  # fmt: skip
    assert second["seeds"] == [3]
    assert (second["first"], second["last"]) == ("2026-01-01T00:00:00Z", "2026-05-01T00:00:00Z")
    assert (second["methods"], second["l2"], second["traces"]) == (["wall clock"], ["warm"], 4)


def test_a_choice_narrows_rows_and_gaps(reported: Dataset, make_trace: MakeTrace) -> None:
    reported.append_traces(NORM, [make_trace("best", 0.1)])
    summary = summarize(reported, Selection(op_types=["rmsnorm"], solutions=["fast"]))
    assert {row.solution for row in summary.rows} == {"fast"}
    assert summary.without_workloads == []
    # The best in the dataset is still the one that is not shown.
    assert min(row.vs_best for row in summary.rows) == pytest.approx(0.2)
    assert summarize(reported, Selection(definitions=["gemm_n64_k64"])).rows == []


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(definitions=["absent"]), "no such definition"),
        (Selection(op_types=["absent"]), "no such op type"),
        (Selection(solutions=["absent"]), "no such solution"),
        (Selection(baseline="absent"), "no such solution with a trace"),
        (Selection(baseline="one"), "no such solution with a trace"),  # never run
    ],
)
def test_unknown_names_are_errors(reported: Dataset, selection: Selection, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        summarize(reported, selection)


def test_nothing_to_report(reported: Dataset, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(NothingSelectedError):
        summarize(Dataset.create(tmp_path_factory.mktemp("empty")))
    with pytest.raises(NothingSelectedError):
        summarize(reported, Selection(solutions=["one"]))
    with pytest.raises(NothingSelectedError):
        summarize(reported, Selection(op_types=["gemm"], definitions=[NORM.name]))


def test_above_the_limit_is_suspect(reported: Dataset, make_trace: MakeTrace) -> None:
    light = {"speed_of_light": {"bytes_moved": 1e9, "flops": 1e9, "limit": "memory",
                                "limit_ms": 0.5}}  # fmt: skip
    reported.append_traces(NORM, [make_trace("magic", 0.25, extra=light)])
    (row,) = summarize(reported).suspects
    assert (row.solution, row.percent_of_limit) == ("magic", 200.0)


@pytest.mark.parametrize(
    ("method", "latency_ms", "is_suspect"),
    [("cuda events", 0.48, False), ("cuda events", 0.47, True),
     ("wall clock", 0.34, False), ("wall clock", 0.33, True)],
)  # fmt: skip
def test_a_ceiling_has_an_error_of_its_own(
    reported: Dataset, make_trace: MakeTrace, method: str, latency_ms: float, is_suspect: bool
) -> None:
    light = {"speed_of_light": {"bytes_moved": 1e9, "flops": 1e9, "limit": "memory",
                                "limit_ms": 0.5}, "timing": {"method": method}}  # fmt: skip
    reported.append_traces(NORM, [make_trace("near", latency_ms, extra=light)])
    found = summarize(reported)
    assert [row.solution for row in found.suspects] == (["near"] if is_suspect else [])
