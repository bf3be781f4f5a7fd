"""The HTML page: whole, self-contained, escaped, one row a line, with what a reader aid needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.ops import rmsnorm
from kernelkit.report.page import render
from kernelkit.report.summary import Summary, summarize
from kernelkit.report.text import clean

NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
MakeTrace = Callable[..., Trace]
EVILS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "{{ 7*7 }}{% raw %}",
    "a\nb\x1b[31m‮",
    "&lt;b&gt;",
)


@pytest.fixture
def summary(reported: Dataset) -> Summary:
    """The summary of the dataset with everything in it."""
    return summarize(reported)


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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        """The page's text on one line."""
        return " ".join("".join(self.text).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_is_whole_and_self_contained(summary: Summary) -> None:
    html = render(summary, "python scripts/report.py --dataset x")
    page = _Page(html)
    assert page.open == []
    links = [a for _, a in page.tags if {"src", "href", "srcset", "action", "data"} & a.keys()]
    assert links and all((a["href"] or "").startswith("#") for a in links)
    assert not re.search(r"https?://|@import|url\(", html)
    assert [a for _, a in page.tags if "style" in a or any(n.startswith("on") for n in a)] == []
    assert "prefers-color-scheme: dark" in html


def test_every_link_has_a_target_and_idents_are_unique(summary: Summary) -> None:
    page = _Page(render(summary, "c"))
    idents = [a["id"] for _, a in page.tags if "id" in a]
    assert len(idents) == len(set(idents))
    targets = {(a["href"] or "")[1:] for a in page.all("a")}
    for _, attributes in page.tags:
        targets.update((attributes.get("aria-labelledby") or "").split())
    assert targets <= set(idents)


def test_page_shows_what_the_traces_say(summary: Summary) -> None:
    words = _Page(render(summary, "the command")).words
    expected = ["boom & <b>bang</b>", "gemm_n64_k64", "gemm_n4096_k4096", "Test CPU", "torch 9.9",
                "the command", "4.00x", "2.83×", "rmsnorm_h4096.jsonl:4"]  # fmt: skip
    for part in expected:
        assert part in words, part


def test_each_row_is_one_line(summary: Summary) -> None:
    html = render(summary, "c")
    table = html[html.index('id="results"') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")].strip().splitlines()[1:]
    assert len(body) == len(summary.rows)
    assert all(line.startswith("<tr") and line.endswith("</tr>") for line in body)
    assert sum("broken&lt;script&gt;" in line for line in body) == 1


@pytest.mark.parametrize("evil", EVILS)
def test_no_text_of_a_trace_becomes_markup(
    reported: Dataset, make_trace: MakeTrace, evil: str
) -> None:
    plain = _Page(render(summarize(reported), "c"))
    for latency in (0.7, None):
        one = make_trace(evil, latency, hardware=evil, log=evil, when=evil)
        one.workload.uuid = evil
        one.workload.axes = {evil: 3}
        one.evaluation.environment.libs = {evil: evil}
        one.definition = evil
        reported.append_traces(NORM, [one])
    html = render(summarize(reported), evil)
    page = _Page(html)
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags} | {"br"}
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert {n for _, a in page.tags for n in a} <= {n for _, a in plain.tags for n in a} | {
        "hidden"
    }
    assert " ".join(clean(evil).split()) in page.words  # shown as it is, not worked out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f‪-‮]", html)


def test_tables_have_captions_and_scopes(summary: Summary) -> None:
    html = render(summary, "c")
    page = _Page(html)
    assert len(page.all("table")) == len(page.all("caption")) == 3
    assert {a.get("scope") for a in page.all("th")} == {"col", "row"}
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert all("aria-labelledby" in a for a in page.all("section"))
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_page_of_an_unmeasured_dataset(dataset: Dataset) -> None:
    dataset.write_definition(NORM)
    page = _Page(render(summarize(dataset), "c"))
    assert page.open == []
    assert "Nothing was run" in page.words and "rmsnorm_h4096" in page.words


def test_page_of_nothing_but_failures(dataset: Dataset, make_trace: MakeTrace) -> None:
    dataset.append_traces(NORM, [make_trace("x", None, log="why")])
    page = _Page(render(summarize(dataset), "c"))
    assert page.open == []
    assert "why" in page.words and "there is nothing to draw" in page.words


def test_two_kinds_of_hardware_get_a_column_and_plots_of_their_own(
    reported: Dataset, make_trace: MakeTrace
) -> None:
    reported.append_traces(NORM, [make_trace("fast", 0.1, hardware="Other GPU")])
    html = render(summarize(reported), "c")
    assert html.count('<th scope="col">hardware</th>') == 3
    assert html.count("<figcaption>Roofline</figcaption>") == 2


def test_above_the_limit_is_called_an_error(reported: Dataset, make_trace: MakeTrace) -> None:
    light = {"speed_of_light": {"bytes_moved": 1e9, "flops": 1e9, "limit": "memory",
                                "limit_ms": 0.5}}  # fmt: skip
    reported.append_traces(NORM, [make_trace("magic", 0.25, extra=light)])
    words = _Page(render(summarize(reported), "c")).words
    assert "an error somewhere, not a win" in words and "200 % memory !" in words
