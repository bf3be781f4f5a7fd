"""The page at work in a real browser: sorting, filtering, no network, nothing that runs unasked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import headless
import pytest
from full_page import EVIL
from report_samples import NORM, trace

from kernelkit.dataset.store import Dataset
from kernelkit.report.page import render
from kernelkit.report.summary import summarize


def _column(browser: headless.Browser, head: str) -> list[str]:
    """The cells of a column of the results that are shown."""
    return browser.value(
        "(() => { const t = document.querySelector('#results');"
        f"const i = [...t.tHead.rows[0].cells].findIndex((c) => c.textContent === {head!r});"
        "return [...t.tBodies[0].rows].filter((r) => !r.hidden)"
        ".map((r) => r.cells[i].textContent); })()"
    )


def _focus(browser: headless.Browser, head: str) -> None:
    browser.value(
        "[...document.querySelectorAll('#results thead button')]"
        f".find((b) => b.textContent === {head!r}).focus()"
    )


def _sorted_by(browser: headless.Browser) -> dict[str, str]:
    return browser.value(
        "Object.fromEntries([...document.querySelectorAll('#results th[aria-sort]')]"
        ".map((h) => [h.textContent, h.getAttribute('aria-sort')]))"
    )


def test_nothing_runs_and_nothing_is_fetched_but_the_page(
    shown: headless.Browser, page: Path
) -> None:
    assert set(shown.requests) == {page.as_uri()}
    assert shown.errors == []
    assert shown.value("window.hacked") is None
    assert shown.value("document.images.length") == 0
    assert EVIL in shown.value("document.querySelector('.failure pre').textContent")


def test_a_script_of_elsewhere_would_not_run(shown: headless.Browser) -> None:
    shown.value(
        "document.body.append(Object.assign(document.createElement('script'),"
        "{textContent: 'window.hacked = 1'}))"
    )
    assert shown.value("window.hacked") is None
    shown.errors.clear()  # the browser tells of the refused script


def test_sorting_with_the_keyboard(shown: headless.Browser) -> None:
    _focus(shown, "latency ms")
    shown.press("Enter", 13, "\r")
    assert _sorted_by(shown) == {"latency ms": "ascending"}
    values = _column(shown, "latency ms")
    numbers = [float(value) for value in values if value != "–"]
    assert numbers == sorted(numbers) and len(numbers) == 11
    assert values[-1] == "–"
    shown.press(" ", 32, " ")
    assert _sorted_by(shown) == {"latency ms": "descending"}
    values = _column(shown, "latency ms")
    assert [float(v) for v in values[:-1]] == sorted(numbers, reverse=True)
    assert values[-1] == "–"  # what has no value stays last
    assert "latency ms, descending" in shown.value("document.getElementById('said').textContent")
    _focus(shown, "solution")
    shown.press("Enter", 13, "\r")
    assert _sorted_by(shown) == {"solution": "ascending"}
    assert _column(shown, "solution")[0].startswith("</script>")


def test_filters_work_together(shown: headless.Browser) -> None:
    def choose(ident: str, value: str) -> list[str]:
        shown.value(
            f"(() => {{ const e = document.getElementById({ident!r}); e.value = {value!r};"
            "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        return _column(shown, "solution")

    assert set(choose("words", "BASE batch_size=8")) == {"base"}
    assert len(choose("words", "")) == 12
    assert len(choose("status", "failed")) == 1
    assert choose("words", "base") == []
    assert shown.value("document.getElementById('shown').textContent") == "0 of 12 rows"
    choose("words", "")
    assert len(choose("status", "passed")) == 11
    assert len(choose("kind", "rmsnorm")) == 11


def test_of_many_rows_the_first_are_shown_and_all_can_be(
    browser: headless.Browser, dataset: Dataset, tmp_path: Path
) -> None:
    traces = [trace(f"s{i:03d}", 1.0 + i / 100, rows=2**j) for i in range(150) for j in range(3)]
    dataset.append_traces(NORM, traces)
    path = tmp_path / "many.html"
    path.write_text(render(summarize(dataset), "c"), encoding="utf-8")
    browser.screen(1280)
    browser.open(path)
    count = "document.getElementById('shown').textContent"
    assert len(_column(browser, "solution")) == 400
    assert browser.value(count) == "450 of 450 rows, the first 400 shown"
    _focus(browser, "latency ms")
    for _ in range(2):
        browser.press("Enter", 13, "\r")
    assert _column(browser, "latency ms")[0] == "2.49"  # the sort is over all rows
    browser.value("document.getElementById('more').click()")
    assert len(_column(browser, "solution")) == 450
    assert browser.value(count) == "450 of 450 rows"


def test_a_status_opens_its_log(shown: headless.Browser) -> None:
    shown.value("document.querySelectorAll('.failure').forEach((d) => { d.open = false; })")
    shown.value("document.querySelector('#results a.badge').click()")
    shown.value("dispatchEvent(new HashChangeEvent('hashchange'))")
    assert shown.value("document.querySelector('.failure').open") is True


def test_a_saved_page_needs_no_script(browser: headless.Browser, page: Path) -> None:
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.screen(1280)
        browser.open(page)
        found = browser.send("DOM.getDocument", depth=-1)
        html = browser.send("DOM.getOuterHTML", nodeId=found["root"]["nodeId"])["outerHTML"]
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert html.count("<tr class=") == 12
    assert '<div class="controls" role="search" hidden' in html


def test_the_command_line_of_chromium_shows_it(page: Path, tmp_path: Path) -> None:
    program = headless.program()
    if program is None:
        pytest.skip("no Chromium on this machine")
    words = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    done = subprocess.run([*words, "--dump-dom", page.as_uri()], capture_output=True, timeout=60)
    dom = done.stdout.decode("utf-8")
    assert "12 of 12 rows" in dom  # the script ran
    assert '<button type="button">latency ms</button>' in dom
