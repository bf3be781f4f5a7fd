"""A small share of the benchmark of scale holds its bounds: memory per row, size of a page."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import scale  # noqa: E402

from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.validate import validate  # noqa: E402
from kernelkit.report import documents, extent, tables  # noqa: E402
from kernelkit.report.page import render  # noqa: E402
from kernelkit.report.summary import Summary, summarize  # noqa: E402

ROWS = scale.WORKLOADS * scale.SOLUTIONS * len(scale.HARDWARE)  # of one definition
BYTES_PER_ROW = 2 * 2**30 / (ROWS * scale.DEFINITIONS)  # what 2 GiB leave for each
SMALL, LARGE = 1, 7


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Dataset]:
    """Two datasets by their number of definitions."""
    folder = tmp_path_factory.mktemp("scale")
    for count in (SMALL, LARGE):
        scale.write(folder / str(count), count)
    return {count: Dataset.open(folder / str(count)) for count in (SMALL, LARGE)}


@pytest.fixture(scope="module")
def summary(datasets: dict[int, Dataset]) -> Summary:
    return summarize(datasets[LARGE])


def _peak(dataset: Dataset) -> int:
    """The most bytes that a report's rows and CSV hold at once."""
    tracemalloc.start()
    for _ in documents.csv_lines(summarize(dataset)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_per_row_leaves_room_for_a_million(datasets: dict[int, Dataset]) -> None:
    summarize(datasets[SMALL])  # what is imported at first use does not count
    grown = _peak(datasets[LARGE]) - _peak(datasets[SMALL])
    assert 0 < grown / (ROWS * (LARGE - SMALL)) < BYTES_PER_ROW


def test_the_generated_dataset_has_no_fault(datasets: dict[int, Dataset]) -> None:
    report = validate(datasets[SMALL])
    assert [finding.code for finding in report.findings if finding.severity == "error"] == []
    assert report.counts["traces"] == SMALL * ROWS


def test_forms_for_reading_are_bounded_and_say_so(
    summary: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(render(summary, "a command"))
    for name, most in (("ROWS", 30), ("GROUPS", 3), ("FAILURES", 5)):
        monkeypatch.setattr(extent, name, most)
    page = render(summary, "a command")
    assert len(page) < whole / 4
    assert page.count('<tr class="') == 30
    assert page.count('<details class="group"') == 3
    for text in (page, tables.as_text(summary), documents.as_markdown(summary)):
        assert f"The first 30 of {LARGE * ROWS:,} rows" in text.replace("\\", "")
    assert f"{LARGE * ROWS} traces" in tables.as_text(summary)  # totals are of everything


def test_links_to_logs_that_are_left_out_lead_to_the_others(
    summary: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extent, "FAILURES", 1)
    page = render(summary, "a command")
    assert page.count('<details class="failure"') == 1
    assert 'href="#failures">RUNTIME_ERROR' in page and 'id="failures"' in page


def test_csv_and_json_have_everything(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent, "ROWS", 30)
    assert sum(1 for _ in documents.csv_lines(summary)) == 1 + LARGE * ROWS
    text = "".join(documents.json_parts(summary, output="x"))
    document = json.loads(text)
    assert len(document["traces"]) == LARGE * ROWS and document["output"] == "x"
    assert text == json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def test_faults_are_found() -> None:
    row = {"step": "html", "share": 0.1, "seconds": 1.0, "peak_gib": 0.5, "code": 0}
    whole = {**row, "share": 1.0, "seconds": 10.0, "peak_gib": 1.5}
    assert scale.faults([row, whole], 2.0, 15.0) == []
    for change in ({"seconds": 16.0}, {"peak_gib": 2.5}, {"code": 1}):
        assert len(scale.faults([row, {**whole, **change}], 2.0, 15.0)) == 1
