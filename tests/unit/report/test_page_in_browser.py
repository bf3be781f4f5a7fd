"""The page in a real browser: sorting, filtering, themes, a phone's width, contrast, no network.

KERNELKIT_SCREENSHOTS names a folder to keep pictures in, for people to look at.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import headless
import pytest
from report_samples import NORM, trace

from kernelkit.dataset.store import Dataset
from kernelkit.report.page import render
from kernelkit.report.summary import Selection, summarize

EVIL = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
PHONE = 390

# The texts whose contrast with what lies behind them is below AA, in the current theme.
LOW_CONTRAST = r"""
(() => {
  const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const svg = e instanceof SVGElement, style = getComputedStyle(e), css = e.getAttribute("class");
    const texts = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const shape = svg && ["path", "rect"].includes(e.tagName) && !/grid/.test(css);
    if (!(texts || shape) || ["title", "desc", "script"].includes(e.tagName)) continue;
    const paint = !svg ? style.color : style.fill !== "none" ? style.fill : style.stroke;
    const value = ratio(parse(paint), behind(svg ? e.closest("svg").parentElement : e));
    if (value < (shape ? 3 : 4.5)) found.push([e.tagName, css, e.textContent, value]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it: passes, failures, a limit, two solutions, evil names."""
    folder = tmp_path_factory.mktemp("page")
    summary = summarize(_dataset(folder / "dataset"), Selection(baseline="base"))
    path = folder / "report.html"
    path.write_text(render(summary, f"python scripts/report.py {EVIL}"), encoding="utf-8")
    return path


def _dataset(root: Path) -> Dataset:
    made = Dataset.create(root)
    made.write_definition(NORM)
    for size in (1, 8, 64, 512):
        base = 0.5 + size / 100
        traces = [
            trace("base", base, rows=size, extra=_facts(base)),
            trace("a_much_faster_one_with_a_long_name_" * 2, base / 3, rows=size),
            trace(EVIL, None if size == 8 else base * 1.5, rows=size, log=EVIL * 9),
        ]
        made.append_traces(NORM, traces)
    return made


def _facts(latency: float) -> dict[str, Any]:
    told = {"bytes_moved": 1e9, "flops": 4e9, "limit": "memory", "limit_ms": 0.25}
    timing = {"p10_ms": latency * 0.9, "p90_ms": latency * 1.2, "relative_error": 0.01}
    return {"speed_of_light": told, "timing": timing, "seed": 1}


@pytest.fixture
def shown(browser: headless.Browser, page: Path) -> headless.Browser:
    """The page on a wide light screen."""
    browser.screen(1280)
    browser.open(page)
    browser.value("try { localStorage.clear() } catch {}")
    browser.open(page)
    return browser


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


def test_the_theme_follows_the_system_and_the_button(shown: headless.Browser, page: Path) -> None:
    def dark() -> bool:
        colour = shown.value("getComputedStyle(document.body).backgroundColor")
        return colour == "rgb(17, 22, 29)"

    press = "document.querySelector('button.theme').click()"
    assert not dark()
    shown.screen(1280, dark=True)
    assert dark()
    shown.value(press)
    assert (shown.value("document.querySelector('button.theme').textContent"), dark()) == (
        "Theme: light", False,
    )  # fmt: skip
    shown.screen(1280)
    shown.value(press)
    assert dark()
    shown.open(page)
    assert dark()  # it is remembered
    shown.value(press)
    assert not dark()


@pytest.mark.parametrize("width", [320, PHONE, 800, 1280])
def test_no_page_is_wider_than_the_screen(shown: headless.Browser, page: Path, width: int) -> None:
    shown.screen(width)
    shown.open(page)
    shown.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for part in (".group", "#results"):  # what is not on the screen is not laid out
        shown.value(f"document.querySelector({part!r}).scrollIntoView()")
        shown.value("new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")
        assert shown.value("document.documentElement.scrollWidth") <= width
    box = shown.value(
        "(() => { const b = document.querySelector('#results').parentElement;"
        "return [b.scrollWidth, b.clientWidth, getComputedStyle(b).overflowX]; })()"
    )
    assert box[0] > box[1] and box[2] == "auto"  # the table scrolls in its box
    smallest = shown.value(
        "Math.min(...[...document.querySelectorAll('figure > svg text')]"
        ".map((t) => t.getBoundingClientRect().height).filter(Boolean))"
    )
    assert smallest > 8, "text of a plot is too small to read"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast_is_enough(shown: headless.Browser, page: Path, dark: bool) -> None:
    shown.screen(1280, dark=dark)
    shown.open(page)
    assert shown.value(LOW_CONTRAST) == []


def test_the_contrast_check_sees_low_contrast(shown: headless.Browser) -> None:
    shown.value("document.querySelector('.sub').style.setProperty('color', '#aaa')")
    assert [found[1] for found in shown.value(LOW_CONTRAST)] == ["sub"]


def test_the_accessibility_tree_has_names(shown: headless.Browser) -> None:
    deadline = time.monotonic() + 20
    while not _has_plot(named := _names_by_role(shown)) and time.monotonic() < deadline:
        time.sleep(0.2)  # the tree is made behind the page, late on a busy machine
    for role in ("main", "navigation", "search", "banner", "contentinfo"):
        assert len(named[role]) == 1, role
    for role in ("table", "region", "button", "searchbox", "combobox", "link"):
        assert named[role] and all(named[role]), role
    assert _has_plot(named)


def _has_plot(named: dict[str, list[str]]) -> bool:
    return any("Latency against workload size" in name for name in named.get("image", ()))


def _names_by_role(shown: headless.Browser) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for node in shown.send("Accessibility.getFullAXTree")["nodes"]:
        if not node.get("ignored"):
            role = node.get("role", {}).get("value", "")
            named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    return named


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


def test_pictures_are_not_blank(shown: headless.Browser, page: Path, tmp_path: Path) -> None:
    kept = Path(os.environ.get("KERNELKIT_SCREENSHOTS", tmp_path))
    kept.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, width, dark in (
        ("light", 1280, False),
        ("dark", 1280, True),
        ("phone", PHONE, False),
    ):
        shown.screen(width, dark=dark)
        shown.open(page)
        path = kept / f"report-{name}.png"
        shown.picture(path, whole=True)
        sizes[name] = path.read_bytes()
        assert len(sizes[name]) > 50_000
    assert sizes["light"] != sizes["dark"]
