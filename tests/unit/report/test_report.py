"""The report says what the traces say: rows, totals, gaps, in text and as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.ops import rmsnorm
from kernelkit.report import tables
from kernelkit.report.page import render
from kernelkit.report.rows import geometric_mean, make_rows
from kernelkit.report.summary import Summary, summarize

NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
DEFINITIONS = {NORM.name: NORM}
MakeTrace = Callable[..., Trace]


@pytest.fixture
def summary(reported: Dataset) -> Summary:
    """The summary of the dataset with everything in it."""
    return summarize(reported)


def test_a_row_has_rates_from_the_familys_cost(make_trace: MakeTrace) -> None:
    (row,) = make_rows([make_trace("s", 0.5, rows=7)], DEFINITIONS)
    moved = 2 * (7 * 4096 * 2 + 4096)  # bfloat16: rows in, rows out, weight
    assert row.gb_per_s == pytest.approx(moved / 0.5e-3 / 1e9)
    assert row.gflop_per_s == pytest.approx(4 * 7 * 4096 / 0.5e-3 / 1e9)
    assert row.speedup == pytest.approx(4.0)
    assert (row.p20_ms, row.p80_ms) == pytest.approx((0.45, 0.55))
    assert row.axes == {"batch_size": 7}


def test_a_failure_has_no_numbers(make_trace: MakeTrace) -> None:
    (row,) = make_rows([make_trace("s", None)], DEFINITIONS)
    assert not row.passed
    assert row.latency_ms is row.speedup is row.gb_per_s is row.max_abs is None


def test_a_trace_of_an_unknown_definition_is_shown(make_trace: MakeTrace) -> None:
    (row,) = make_rows([make_trace("s", 0.5)], {})
    assert (row.op_type, row.gb_per_s, row.latency_ms) == ("unknown", None, 0.5)


def test_foreign_axis_names_give_no_rates(make_trace: MakeTrace) -> None:
    odd = make_trace("s", 0.5)
    odd.workload.axes = {"tokens": 7}
    (row,) = make_rows([odd], DEFINITIONS)
    assert row.gb_per_s is None


def test_the_newest_of_several_counts(make_trace: MakeTrace) -> None:
    traces = [
        make_trace("s", 3.0, when="2026-03-01T00:00:00Z"),
        make_trace("s", 1.0, when="2026-01-01T00:00:00Z"),
        make_trace("s", 7.0, hardware="Other GPU"),
        make_trace("s", 8.0, rows=8),
    ]
    rows = make_rows(traces, DEFINITIONS)
    assert [row.latency_ms for row in rows] == [3.0, 7.0, 8.0]


def test_geometric_mean_is_over_what_passed(make_trace: MakeTrace) -> None:
    traces = [make_trace("a", 0.5), make_trace("b", 8.0), make_trace("c", None)]
    assert geometric_mean(make_rows(traces, DEFINITIONS)) == pytest.approx((4.0 * 0.25) ** 0.5)
    assert geometric_mean(make_rows([make_trace("c", None)], DEFINITIONS)) is None


def test_summary(summary: Summary) -> None:
    assert summary.statuses == {"PASSED": 2, "RUNTIME_ERROR": 1}
    assert summary.without_workloads == summary.without_solutions == ["gemm_n64_k64"]
    assert summary.without_traces == ["gemm_n4096_k4096"]
    assert len(summary.unreadable) == 1
    assert summary.unreadable[0].startswith("traces/rmsnorm/rmsnorm_h4096.jsonl:4:")
    assert summary.environments == [{"hardware": "Test CPU", "libs": {"torch": "9.9"}}]
    assert summary.speedup == pytest.approx(8**0.5)


def test_summary_as_json(summary: Summary) -> None:
    plain = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert len(plain["traces"]) == 3
    assert plain["statuses"]["PASSED"] == 2


def test_infinite_errors_are_json(reported: Dataset, make_trace: MakeTrace) -> None:
    odd = make_trace("odd", 0.5)
    odd.evaluation.correctness.max_absolute_error = float("inf")
    reported.append_traces(NORM, [odd])
    text = json.dumps(summarize(reported).to_json(), allow_nan=False)
    assert '"max_abs": "inf"' in text


def test_text_has_failures_first_and_all_gaps(summary: Summary) -> None:
    text = tables.as_text(summary)
    assert text.startswith("RUNTIME_ERROR: broken")
    assert "boom & <b>bang</b>" in text
    assert "no recorded workload (1): gemm_n64_k64" in text
    assert "not run yet (1): gemm_n4096_k4096" in text
    assert "3 traces: 2 PASSED, 1 RUNTIME_ERROR; speedup over the reference 2.83x" in text


def test_columns_are_aligned(summary: Summary) -> None:
    lines = [line for line in tables.as_table(summary.rows).splitlines() if "PASSED" in line]
    assert len(lines) == 2
    assert len({line.index("fast") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (0.01234, "0.0123"),
        (0.00012, "1.20e-04"),
        (2.5e9, "2.50e+09"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert tables.number(value) == text


class _Page(HTMLParser):
    """Collects tags, attributes and text of a page, and checks that tags close."""

    VOID = ("meta", "br", "wbr", "link", "img", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_page_is_whole_and_self_contained(summary: Summary) -> None:
    html = render(summary, "python scripts/make_report.py --dataset x")
    page = _Page(html)
    assert page.open == []
    loading = [(tag, a) for tag, a in page.tags if {"src", "href", "srcset"} & a.keys()]
    assert loading == []
    assert not re.search(r"https?://|@import|url\(", html)
    assert "prefers-color-scheme: dark" in html


def test_page_shows_what_the_traces_say(summary: Summary) -> None:
    text = " ".join("".join(_Page(render(summary, "the command")).text).split())
    assert "2 passed" in text.replace("2passed", "2 passed")
    expected = ["boom & <b>bang</b>", "gemm_n64_k64", "gemm_n4096_k4096", "Test CPU", "torch 9.9"]
    for part in [*expected, "the command", "4.00×", "2.83×", "rmsnorm_h4096.jsonl:4"]:
        assert part in text, part


def test_names_cannot_inject(summary: Summary) -> None:
    html = render(summary, "<script>evil()</script>")
    assert html.count("<script>") == 1  # the page's own
    assert "broken&lt;script&gt;alert" in html


def test_page_of_an_unmeasured_dataset(dataset: Dataset) -> None:
    dataset.write_definition(NORM)
    text = "".join(_Page(render(summarize(dataset), "c")).text)
    assert "Nothing was run" in text
    assert "rmsnorm_h4096" in text
