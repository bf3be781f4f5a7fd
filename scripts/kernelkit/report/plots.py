"""The plots of a report: latency against workload size, speedup bars, win@p curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kernelkit.report import extent, svg
from kernelkit.report.rows import Row
from kernelkit.report.scores import Score, geometric_mean
from kernelkit.report.svg import SERIES, Axis
from kernelkit.report.text import axes_text, clean, number, shorten, times

BAR, BAR_STEP = 12, 36
NAME_WIDTH = 38


@dataclass(frozen=True)
class Figure:
    """A plot with what stands around it. A legend entry without a series is the reference."""

    title: str
    picture: Markup
    legend: list[tuple[int | None, str]]
    note: str = ""


def latency_plot(ident: str, rows: Sequence[Row], scores: Sequence[Score]) -> Figure | None:
    """Latency against the size of the workload, for one definition on one hardware."""
    size, label = size_of(rows)
    timed = [row for row in rows if row.latency_ms]
    if not timed:
        return None
    shown = [score.name for score in scores][:SERIES]
    times_ms = [t for r in timed for t in (r.latency_ms, r.p10_ms, r.p90_ms, r.reference_ms) if t]
    x, y = _size_axis([size(row) for row in rows], label), Axis.over(times_ms, "ms", log=True)
    body = [*_reference(timed, size, x, y)]
    for series, name in enumerate(shown):
        body += _latencies(series, [r for r in timed if r.solution == name], size, x, y)
    body += [
        svg.cross(svg.px(x, size(row)), svg.TOP + 6, f"{row_name(row)}: {row.status}")
        for row in rows
        if not row.passed
    ]
    legend: list[tuple[int | None, str]] = [(i, clean(name)) for i, name in enumerate(shown)]
    if any(row.reference_ms for row in timed):
        legend.append((None, "reference"))
    failed = sum(not row.passed for row in rows)
    note = f"{failed} failed: the crosses at the top. " if failed else ""
    description = f"Median latency of {len(shown)} solutions against {label}; bars are p10 to p90."
    return Figure(
        "Latency against workload size",
        svg.chart(ident, "Latency against workload size", description, x, y, body),
        legend,
        note + _left_out(len(scores), "solutions"),
    )


def speedup_bars(ident: str, scores: Sequence[Score]) -> Figure | None:
    """Geometric mean speedup over the reference of each solution, from 1x to left or right."""
    shown = list(scores[:SERIES])
    means = [score.geomean_passed for score in shown if score.geomean_passed]
    if not means:
        return None
    x = Axis(min([0.5, *means]) / 1.1, max([2.0, *means]) * 1.1, "", log=True)
    height = len(shown) * BAR_STEP + 26
    parts: list[Markup] = []
    for value in x.ticks():
        at = x.at(value, 4, svg.WIDTH - 4)
        parts.append(svg.line([(at, 0), (at, height - 20)], "grid"))
        parts.append(svg.words(at, height - 6, f"{svg.tick(value)}×", "mid"))
    one = x.at(1.0, 4, svg.WIDTH - 4)
    parts.append(svg.line([(one, 0), (one, height - 20)], "axis"))
    for series, score in enumerate(shown):
        parts += _bar(series, score, x, one)
    told = "; ".join(f"{clean(s.name)} {_mean_text(s)}" for s in shown)
    title = "Speedup over the reference"
    picture = svg.picture(ident, title, f"Geometric means: {told}", height, parts)
    note = "Geometric mean of what passed, on a logarithmic scale. "
    return Figure(title, picture, [], note + _left_out(len(scores), "solutions"))


def win_curve(ident: str, scores: Sequence[Score], baseline: str | None) -> Figure | None:
    """Share of all workloads won by more than p, for each p."""
    shown = list(scores[:SERIES])
    wins = [win for score in shown for win in score.wins]
    if not wins:
        return None
    against = f"against {clean(baseline)}" if baseline else "against the best in the dataset"
    label = f"p, {shorten(against, 44)}"
    x = Axis(min([0.5, *wins]) / 1.1, max([2.0, *wins]) * 1.1, label, True) if baseline else None
    x = x or Axis(0.0, 1.05, label)
    y = Axis(0.0, 104.0, "% of all workloads")
    body: list[Markup] = []
    for series, score in enumerate(shown):
        body += _curve(series, score, x, y)
    description = f"Share of workloads that are right and faster than p times, {against}."
    return Figure(
        "win@p",
        svg.chart(ident, "win@p", description, x, y, body),
        [(i, clean(score.name) or "unknown author") for i, score in enumerate(shown)],
        "Higher and further to the right is better. " + _left_out(len(scores), "curves"),
    )


def size_of(rows: Sequence[Row]) -> tuple[Callable[[Row], float], str]:
    """What tells the workloads of a definition apart, and its name.

    The axis that varies, if there is one; else the bytes that the op needs; else the product of
    the axes. Axes that follow from others (len_indptr) are none.
    """
    names = [n for n in (rows[0].axes if rows else {}) if not n.startswith("len_")]
    varying = [n for n in names if len({row.axes.get(n) for row in rows}) > 1] or names[:1]
    if len(varying) == 1:
        return lambda row: float(row.axes.get(varying[0], 0)), clean(varying[0])
    if rows and all(row.bytes_moved for row in rows if row.latency_ms):
        known = {row.workload: row.bytes_moved or 0.0 for row in rows if row.bytes_moved}
        return lambda row: known.get(row.workload, 0.0) / 1e6, "MB the op needs"
    return lambda row: float(math.prod(row.axes.values())), "product of the axes"


def _size_axis(values: Sequence[float], label: str) -> Axis:
    log = min(values) > 0 and max(values) / min(values) > 8
    return Axis.over(values, label, log=log)


def _latencies(
    series: int, rows: Sequence[Row], size: Callable[[Row], float], x: Axis, y: Axis
) -> list[Markup]:
    """A line through the geometric means at each size, whiskers and marks."""
    parts = [_through([(size(r), r.latency_ms) for r in rows], x, y, f"line s{series}")]
    for row in rows:
        at = svg.px(x, size(row))
        if row.p10_ms and row.p90_ms:
            ends = [(at, svg.py(y, row.p10_ms)), (at, svg.py(y, row.p90_ms))]
            parts.append(svg.line(ends, f"line s{series}"))
        text = f"{row_name(row)}: {number(row.latency_ms)} ms"
        parts.append(svg.mark(at, svg.py(y, row.latency_ms or 0), series, text))
    return parts


def _reference(rows: Sequence[Row], size: Callable[[Row], float], x: Axis, y: Axis) -> list[Markup]:
    points = [(size(row), row.reference_ms) for row in rows if row.reference_ms]
    return [_through(points, x, y, "reference")] if points else []


def _through(points: Sequence[tuple[float, float | None]], x: Axis, y: Axis, css: str) -> Markup:
    at: dict[float, list[float | None]] = {}
    for size, value in points:
        at.setdefault(size, []).append(value)
    path = [(svg.px(x, s), svg.py(y, geometric_mean(at[s]) or 0)) for s in sorted(at)]
    return svg.line(path, css) if path else Markup("")


def _bar(series: int, score: Score, x: Axis, one: float) -> list[Markup]:
    top = series * BAR_STEP + 4
    text = f"{shorten(clean(score.name), NAME_WIDTH)}  {_mean_text(score)}"
    parts = [svg.words(6, top + 10, text, "bad" if score.failed else "")]
    if score.geomean_passed:
        end = x.at(score.geomean_passed, 4, svg.WIDTH - 4)
        css = f"bar s{series}" + (" partly" if score.failed else "")
        parts.append(svg.bar(min(one, end), top + 15, abs(end - one), BAR, css))
    return parts


def _mean_text(score: Score) -> str:
    failed = f", {score.failed} of {score.workloads} failed" if score.failed else ""
    return f"{times(score.geomean_passed, '×') if score.geomean_passed else '0'}{failed}"


def _curve(series: int, score: Score, x: Axis, y: Axis) -> list[Markup]:
    """The staircase, with the series' mark half-way down."""
    points = _steps(score, x, y)
    curve = svg.line(points, f"line wide s{series}")
    if not score.wins:
        return [curve]
    middle = points[2 * (((len(points) - 2) // 2 - 1) // 2) + 1]
    return [curve, svg.mark(*middle, series, clean(score.name))]


def _steps(score: Score, x: Axis, y: Axis) -> list[tuple[float, float]]:
    """The staircase of the share above p, from the left edge to zero or the right edge."""
    left = score.wins
    share = 100 * len(left) / score.workloads
    points = [(svg.px(x, x.low), svg.py(y, share))]
    stride = math.ceil(len(left) / extent.STEPS)
    for count, win in enumerate(left, start=1):
        if count % stride and count < len(left):
            continue
        points.append((svg.px(x, win), svg.py(y, share)))
        share = 100 * (len(left) - count) / score.workloads
        points.append((svg.px(x, win), svg.py(y, share)))
    return [*points, (svg.px(x, x.high), svg.py(y, share))]


def row_name(row: Row) -> str:
    """Solution and axes, for the text under the pointer."""
    return f"{clean(row.solution)}, {axes_text(row.axes)}"


def _left_out(count: int, what: str) -> str:
    return f"The best {SERIES} of {count} {what} are drawn." if count > SERIES else ""
