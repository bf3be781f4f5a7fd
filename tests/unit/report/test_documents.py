"""Terminal text, Markdown, CSV and JSON say the same, and nothing in a trace breaks out of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.ops import rmsnorm
from kernelkit.report import documents, tables, text
from kernelkit.report.summary import Selection, Summary, summarize

NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
MakeTrace = Callable[..., Trace]
NASTY = "a|b`c`\n\x1b[31m‮*x*<b>@me"


@pytest.fixture
def summary(reported: Dataset) -> Summary:
    """The summary of the dataset with everything in it."""
    return summarize(reported)


@pytest.fixture
def nasty(reported: Dataset, make_trace: MakeTrace) -> Summary:
    """One more solution, whose name and log try everything."""
    reported.append_traces(NORM, [make_trace(NASTY, None, log="```\n\x1b]0;x\x07|# big\n\ttab")])
    return summarize(reported)


@pytest.mark.parametrize(
    ("value", "shown"),
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
def test_numbers(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


def test_times_and_percent() -> None:
    assert [text.times(v) for v in (None, 0.0, 0.012, 1.005, 12.3)] == [
        "–", "0", "0.0120x", "1.00x", "12.30x",
    ]  # fmt: skip
    assert (text.percent(None), text.percent(0.256), text.percent(0.004, 1)) == (
        "–",
        "26 %",
        "0.4 %",
    )


def test_clean_shows_what_does_not_show() -> None:
    assert text.clean("a\x1b[0m\n‮b\ud800") == "a\\x1b[0m\\x0a\\u202eb\\ud800"
    assert text.clean("größe × 中文") == "größe × 中文"


def test_a_long_log_keeps_both_ends() -> None:
    shown = text.clean_log("start\n" + "x" * 50_000 + "\nend")
    assert shown.startswith("start\n") and shown.endswith("\nend")
    assert len(shown) < 21_000
    assert "characters left out" in shown


def test_text_has_failures_with_their_log_and_all_gaps(summary: Summary) -> None:
    shown = tables.as_text(summary)
    assert (
        "RUNTIME_ERROR: broken<script>alert(1)</script> on batch_size=7\n    line\n    boom"
        in shown
    )
    assert "no recorded workload (1): gemm_n64_k64" in shown
    assert "not run yet (1): gemm_n4096_k4096" in shown
    assert "skipped, unreadable (1): traces/rmsnorm/rmsnorm_h4096.jsonl:4:" in shown
    assert "3 traces: 2 PASSED, 1 RUNTIME_ERROR; speedup over the reference 2.83x" in shown
    assert shown.startswith("Test CPU: torch 9.9\n  traces of 2026-01-01T00:00:00Z; seed not told")
    assert re.search(r"broken\S+ +0/2, 1 not run", shown)


def test_columns_are_aligned(summary: Summary) -> None:
    lines = [line for line in tables.as_table(summary.rows).splitlines() if "PASSED" in line]
    assert len(lines) == 2
    assert len({line.index("fast") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1


def test_columns_without_values_are_left_out(summary: Summary) -> None:
    head = tables.as_table(summary.rows).splitlines()[0]
    assert "p10–p90 ms" in head and "× best" in head
    assert "% of limit" not in head and "× baseline" not in head and "± median" not in head


def test_failures_of_one_cause_stand_together(reported: Dataset, make_trace: MakeTrace) -> None:
    reported.append_traces(NORM, [make_trace("x", None, rows=n, log="same") for n in (1, 2)])
    shown = tables.as_text(summarize(reported))
    assert "RUNTIME_ERROR: x on batch_size=1; batch_size=2\n    same\n" in shown


def test_nothing_reaches_the_terminal_raw(nasty: Summary) -> None:
    shown = tables.as_text(nasty)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f‪-‮]", shown)
    assert "\\x1b[31m\\u202e" in shown


def test_markdown_tables_keep_their_columns(nasty: Summary) -> None:
    shown = documents.as_markdown(nasty)
    blocks = re.findall(r"(?:^\|.*\n)+", shown, re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1, block
    assert "````text\n```\n" in shown  # the log's own fence does not end it
    for line in shown.splitlines():
        if "<b>" in line and line.startswith("|"):
            assert re.search(r"``.*<b>.*``", line)  # inside a code span
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f‪-‮]", shown)


def test_csv_has_a_line_per_row_and_no_formula(reported: Dataset, make_trace: MakeTrace) -> None:
    evil = ["=HYPERLINK(1)", "@x", '+1,"2"', "-3\n4"]
    reported.append_traces(NORM, [make_trace(name, 0.5) for name in evil])
    summary = summarize(reported)
    rows = list(csv.DictReader(io.StringIO("".join(documents.csv_lines(summary)))))
    assert len(rows) == len(summary.rows)
    names = {row["solution"] for row in rows}
    assert {"'=HYPERLINK(1)", "'@x", '\'+1,"2"', "fast"} <= names
    assert not any(name.startswith(("=", "+", "-", "@")) for name in names)
    fast = next(row for row in rows if row["solution"] == "fast")
    assert float(fast["latency_ms"]) == 0.5
    assert (fast["axes"], fast["limit"], fast["older_traces"]) == ("batch_size=7", "", "0")


def _json_text(summary: Summary) -> str:
    return "".join(documents.json_parts(summary))


def test_json_is_whole(summary: Summary) -> None:
    plain = json.loads(_json_text(summary))
    assert len(plain["traces"]) == 3
    assert plain["statuses"] == {"PASSED": 2, "RUNTIME_ERROR": 1}
    assert plain["geometric_mean_speedup"] == pytest.approx(8**0.5)
    by_name = {score["name"]: score for score in plain["scores"]}
    assert by_name["fast"]["fast_p"] == {"0.5": 1, "1": 1, "1.5": 1, "2": 0.5, "5": 0, "10": 0}
    assert by_name["fast"]["wins"] == [1.0, 1.0]
    failed = next(row for row in plain["traces"] if row["status"] == "RUNTIME_ERROR")
    assert failed["log"] == "line\nboom & <b>bang</b>"
    assert plain["environments"][0]["hardware"] == "Test CPU"


def test_infinite_errors_are_json(reported: Dataset, make_trace: MakeTrace) -> None:
    odd = make_trace("odd", 0.5)
    odd.evaluation.correctness.max_absolute_error = float("inf")
    reported.append_traces(NORM, [odd])
    shown = _json_text(summarize(reported))
    assert '"max_abs": "inf"' in shown


def test_every_form_takes_a_baseline(reported: Dataset, make_trace: MakeTrace) -> None:
    reported.append_traces(NORM, [make_trace("slow", 1.0)])
    summary = summarize(reported, Selection(baseline="slow"))
    assert re.search(r"fast .* 2\.00x", tables.as_text(summary))
    assert "| × baseline |" in documents.as_markdown(summary)
    assert json.loads(_json_text(summary))["baseline"] == "slow"


def test_every_form_takes_a_dataset_without_traces(dataset: Dataset) -> None:
    dataset.write_definition(NORM)
    summary = summarize(dataset)
    assert "no traces" in tables.as_text(summary)
    assert "0 traces: none" in documents.as_markdown(summary)
    assert len("".join(documents.csv_lines(summary)).splitlines()) == 1
    assert json.loads(_json_text(summary))["traces"] == []
