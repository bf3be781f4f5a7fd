"""Plots draw what the rows say: places on the axes, steps, bars, ceilings."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from kernelkit.report import plots, roofline, svg
from kernelkit.report.rows import Row, relate
from kernelkit.report.scores import by_solution
from kernelkit.report.svg import Axis

NAME = "{http://www.w3.org/2000/svg}"


def _row(solution: str, size: int, latency: float | None, **other: Any) -> Row:
    facts: dict[str, Any] = {
        "op_type": "gemm", "definition": "d", "axes": {"M": size, "len_x": size + 1},
        "hardware": "GPU", "timestamp": "2026-01-01", "log": "", "workload": f"u{size}",
        "status": "TIMEOUT" if latency is None else "PASSED", "latency_ms": latency,
        "reference_ms": latency and 1.0, "speedup": latency and 1 / latency,
    }  # fmt: skip
    return Row(solution=solution, **{**facts, **other})


def _parse(figure: plots.Figure | None) -> ET.Element:
    """The picture as XML: it must be well-formed."""
    assert figure is not None
    return ET.fromstring(str(figure.picture))


def _places(root: ET.Element, css: str) -> list[tuple[float, float]]:
    found = [e for e in root.iter("path") if e.get("class") == css]
    texts = [re.findall(r"[-\d.]+", e.get("transform", "")) for e in found]
    return [(float(x), float(y)) for x, y in texts]


def test_an_axis_places_values() -> None:
    even, log = Axis(0, 10, "x"), Axis(1, 100, "x", log=True)
    assert even.at(5, 0, 200) == pytest.approx(100)
    assert log.at(10, 0, 200) == pytest.approx(100)
    assert (even.at(-3, 0, 200), even.at(99, 0, 200)) == (0, 200)


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(0, 1.05, False), (3, 3.3, False), (1, 1e9, True), (0.9, 1.1, True), (1e-7, 2e-7, True),
     (1, 12, True), (0.05, 40, True), (1e6, 1e6 * 1.5, True)],
)  # fmt: skip
def test_ticks_are_few_round_and_inside(low: float, high: float, log: bool) -> None:
    ticks = Axis(low, high, "x", log).ticks()
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
    assert all(len(svg.tick(tick)) <= 8 for tick in ticks)


def test_an_axis_over_one_value_has_a_width() -> None:
    for log in (True, False):
        axis = Axis.over([5.0], "x", log=log)
        assert axis.low < 5 < axis.high
    assert Axis.over([], "x", log=True).ticks()
    assert Axis.over([0.0, 0.0], "x", log=False).low < 0


def test_latency_rises_to_the_right_and_up() -> None:
    rows = [_row("a", 1, 0.1), _row("a", 100, 0.4), _row("a", 10, 0.2), _row("b", 10, None)]
    root = _parse(plots.latency_plot("i", rows, by_solution(relate(rows), {})))
    marks = sorted(_places(root, "mark s0"))
    assert len(marks) == 3
    assert marks[0][1] > marks[1][1] > marks[2][1]  # y goes down in SVG
    assert marks[1][0] - marks[0][0] == pytest.approx(marks[2][0] - marks[1][0], abs=0.2)
    assert len(_places(root, "cross")) == 1
    assert len([e for e in root.iter("path") if e.get("class") == "reference"]) == 1


def test_whiskers_reach_from_p10_to_p90() -> None:
    rows = [_row("a", 1, 1.0, p10_ms=0.5, p90_ms=2.0), _row("a", 2, 1.0)]
    root = _parse(plots.latency_plot("i", rows, by_solution(relate(rows), {})))
    lines = [e.get("d", "") for e in root.iter("path") if e.get("class") == "line s0"]
    (through, whisker) = lines
    (x1, top), (x2, bottom) = re.findall(r"([\d.]+),([\d.]+)", whisker)
    assert x1 == x2 and float(top) > float(bottom)
    middle = float(re.findall(r",([\d.]+)", through)[0])
    assert middle == pytest.approx((float(top) + float(bottom)) / 2, abs=0.2)


def test_size_is_the_axis_that_varies_else_the_bytes() -> None:
    one = [_row("a", 1, 1.0), _row("a", 5, 1.0)]
    size, label = plots.size_of(one)
    assert (label, [size(row) for row in one]) == ("M", [1.0, 5.0])
    two = [_row("a", 1, 1.0, axes={"b": 1, "t": 8}, bytes_moved=3e6),
           _row("a", 2, 1.0, axes={"b": 2, "t": 9}, bytes_moved=5e6),
           _row("f", 2, None, axes={"b": 2, "t": 9})]  # fmt: skip
    size, label = plots.size_of(two)
    assert (label, [size(row) for row in two]) == ("MB the op needs", [3.0, 5.0, 5.0])
    bare = [_row("a", 1, 1.0, axes={"b": 1, "t": 8}), _row("a", 2, 1.0, axes={"b": 2, "t": 9})]
    size, label = plots.size_of(bare)
    assert (label, [size(row) for row in bare]) == ("product of the axes", [8.0, 18.0])


def test_bars_grow_from_one() -> None:
    rows = [_row("fast", 1, 0.5), _row("slow", 1, 2.0), _row("bad", 1, None),
            _row("half", 1, 0.5), _row("half", 2, None)]  # fmt: skip
    root = _parse(plots.speedup_bars("i", by_solution(relate(rows), {"d": 2})))
    bars = {e.get("class"): e for e in root.iter("rect")}
    assert set(bars) == {"bar s0", "bar s1", "bar s2 partly"}
    fast, slow = bars["bar s0"], bars["bar s1"]
    one = float(fast.get("x", 0))
    assert float(slow.get("x", 0)) + float(slow.get("width", 0)) == pytest.approx(one, abs=0.2)
    assert float(fast.get("width", 0)) == pytest.approx(float(slow.get("width", 0)), abs=0.2)
    words = " ".join(e.text or "" for e in root.iter("text"))
    assert "bad 0, 1 of 2 failed" in " ".join(words.split())


def test_the_win_curve_steps_down_at_each_quotient() -> None:
    rows = relate([_row("a", 1, 1.0), _row("a", 2, 1.0), _row("b", 1, 2.0), _row("b", 2, 4.0)])
    figure = plots.win_curve("i", by_solution(rows, {"d": 2}), None)
    root = _parse(figure)
    (path,) = [e.get("d", "") for e in root.iter("path") if e.get("class") == "line wide s1"]
    points = [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path)]
    x, y = Axis(0.0, 1.05, ""), Axis(0.0, 104.0, "")
    expected = [(0, 100), (0.25, 100), (0.25, 50), (0.5, 50), (0.5, 0), (1.05, 0)]
    for found, (p, share) in zip(points, expected, strict=True):
        assert found == pytest.approx((svg.px(x, p), svg.py(y, share)), abs=0.1)


def test_ceilings_come_back_from_the_limits() -> None:
    rows = [
        _row("a", 1, 1.0, limit="memory", limit_ms=0.5, bytes_moved=2e9, flops=1e9),
        _row("a", 2, 1.0, limit="compute", limit_ms=0.25, bytes_moved=1e6, flops=2e11),
        _row("b", 2, 1.0, limit="compute", limit_ms=0.25, bytes_moved=1e6, flops=2e11),
        _row("a", 3, 1.0, bytes_moved=1e6, flops=2e11),
    ]
    assert roofline.ceilings(rows) == (pytest.approx(4e12), [pytest.approx(8e14)])
    root = _parse(roofline.roofline("i", relate(rows)))
    assert len([e for e in root.iter("path") if e.get("class") == "roof"]) == 2
    words = [e.text for e in root.iter("text")]
    assert "4.00 TB/s" in words and "800 TFLOP/s" in words


def test_a_point_at_the_limit_lies_on_the_roof() -> None:
    rate = {"bytes_moved": 1e9, "flops": 1e9, "limit": "memory", "limit_ms": 1.0}
    rows = [_row("a", 1, 1.0, tflop_per_s=1.0, gb_per_s=1000.0, **rate),
            _row("a", 2, 4.0, tflop_per_s=1.0, gb_per_s=250.0, bytes_moved=1e9, flops=4e9,
                 limit="memory", limit_ms=1.0)]  # fmt: skip
    root = _parse(roofline.roofline("i", rows))
    (roof,) = [e.get("d", "") for e in root.iter("path") if e.get("class") == "roof"]
    (x1, y1), (x2, y2) = ((float(a), float(b)) for a, b in re.findall(r"([\d.]+),([\d.]+)", roof))
    on, below = _places(root, "mark s0")
    at = y1 + (y2 - y1) * (on[0] - x1) / (x2 - x1)
    assert on[1] == pytest.approx(at, abs=1)
    assert below[1] == pytest.approx(on[1], abs=0.1) and below[0] > on[0]


def test_without_ceilings_only_points() -> None:
    figure = roofline.roofline(
        "i", [_row("a", 1, 1.0, flops=1e9, bytes_moved=1e9, tflop_per_s=1.0)]
    )
    assert figure is not None and "No measured ceiling" in figure.note
    assert [e for e in _parse(figure).iter("path") if e.get("class") == "roof"] == []


def test_nothing_passed_is_no_plot() -> None:
    rows = relate([_row("a", 1, None)])
    scores = by_solution(rows, {"d": 1})
    assert plots.latency_plot("i", rows, scores) is None
    assert plots.speedup_bars("i", scores) is None
    assert plots.win_curve("i", scores, None) is None
    assert roofline.roofline("i", rows) is None


def test_many_solutions_and_points_are_thinned_and_said() -> None:
    rows = relate([_row(f"s{i:02d}", 1, 1.0 + i) for i in range(12)])
    scores = by_solution(rows, {"d": 1})
    figure = plots.latency_plot("i", rows, scores)
    assert figure is not None and "best 8 of 12" in figure.note
    facts = {"flops": 1e9, "bytes_moved": 1e9, "tflop_per_s": 1.0}
    figure = roofline.roofline("i", [_row("a", i, 1.0, **facts) for i in range(1, 2000)])
    assert figure is not None and "of 1999 rows" in figure.note
    assert len(_places(_parse(figure), "mark s0")) <= roofline.MOST_POINTS


def test_every_picture_has_a_name_and_all_text_is_escaped() -> None:
    evil = '"><script>x</script>&'
    rows = relate([
        _row(evil, 1, 1.0, definition=evil, axes={evil: 1}, flops=1e9, bytes_moved=1e9,
             tflop_per_s=1.0),
        _row(evil, 2, None, definition=evil, axes={evil: 2}),
    ])  # fmt: skip
    scores = by_solution(rows, {})
    made = [
        plots.latency_plot("a", rows, scores), plots.speedup_bars("b", scores),
        plots.win_curve("c", scores, evil), roofline.roofline("d", rows),
    ]  # fmt: skip
    for figure in made:
        root = _parse(figure)
        assert [e for e in root.iter() if e.tag == "script"] == []
        assert root.get("role") == "img"
        titles = {e.get("id"): e.text for e in root}
        assert all(titles[ident] for ident in root.get("aria-labelledby", "").split())
