"""Rooflines: achieved rates against FLOPs per byte, below the device's measured ceilings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from kernelkit.report import svg
from kernelkit.report.plots import Figure, row_name
from kernelkit.report.rows import Row
from kernelkit.report.svg import SERIES, Axis
from kernelkit.report.text import clean, number

MOST_POINTS = 600  # that are drawn


def roofline(ident: str, rows: Iterable[Row]) -> Figure | None:
    """Rates against FLOPs per byte, under the measured ceilings, for one hardware."""
    found = [row for row in rows if row.passed and row.flops and row.bytes_moved and row.latency_ms]
    if not found:
        return None
    points = found[:: math.ceil(len(found) / MOST_POINTS)]
    definitions = list(dict.fromkeys(row.definition for row in points))
    by_op = len(definitions) > SERIES
    names = list(dict.fromkeys(row.op_type if by_op else row.definition for row in points))
    memory, compute = ceilings(found)
    densities = [_intensity(row) for row in points]
    ridges = [flops / memory for flops in compute] if memory else []
    x = Axis.over([*densities, *ridges], "FLOP per byte the op needs", log=True)
    rates = [*(row.tflop_per_s or 0.0 for row in points), *(flops / 1e12 for flops in compute)]
    y = Axis.over(rates, "TFLOP/s", log=True)
    body = _roofs(x, y, memory, compute)
    for row in points:
        series = names.index(row.op_type if by_op else row.definition)
        text = f"{row_name(row)}: {number(row.tflop_per_s)} TFLOP/s, {number(row.gb_per_s)} GB/s"
        body.append(
            svg.mark(svg.px(x, _intensity(row)), svg.py(y, row.tflop_per_s or 0), series, text)
        )
    note = "" if memory or compute else "No measured ceiling in these traces: points only. "
    note += f"{len(points)} of {len(found)} rows are drawn." if len(points) < len(found) else ""
    description = f"{len(points)} measurements against arithmetic intensity, below the ceilings."
    return Figure(
        "Roofline",
        svg.chart(ident, "Roofline", description, x, y, body),
        [(i, clean(name)) for i, name in enumerate(names)],
        note,
    )


def ceilings(rows: Iterable[Row]) -> tuple[float | None, list[float]]:
    """Bytes/s, and each of the FLOP/s (they differ by dtype), that the rows' limits come from."""
    memory: list[float] = []
    compute: dict[str, float] = {}
    for row in rows:
        if row.limit == "memory" and row.limit_ms and row.bytes_moved:
            memory.append(row.bytes_moved / row.limit_ms * 1e3)
        if row.limit == "compute" and row.limit_ms and row.flops:
            rate = row.flops / row.limit_ms * 1e3
            compute.setdefault(f"{rate:.1e}", rate)
    return max(memory, default=None), sorted(compute.values())


def _roofs(x: Axis, y: Axis, memory: float | None, compute: Sequence[float]) -> list[Markup]:
    parts: list[Markup] = []
    if memory:
        top = max(compute, default=y.high * 1e12)
        low, ridge = max(x.low, y.low * 1e12 / memory), min(x.high, top / memory)
        ends = [(svg.px(x, v), svg.py(y, v * memory / 1e12)) for v in (low, ridge)]
        parts.append(svg.line(ends, "roof"))
        at = math.sqrt(max(low, 1e-300) * ridge)
        place = svg.px(x, at), svg.py(y, at * memory / 1e12) - 8
        parts.append(svg.words(*place, f"{number(memory / 1e12)} TB/s", "end"))
    for flops in compute:
        start = flops / memory if memory else x.low
        height = svg.py(y, flops / 1e12)
        parts.append(svg.line([(svg.px(x, start), height), (svg.px(x, x.high), height)], "roof"))
        text = f"{number(flops / 1e12)} TFLOP/s"
        parts.append(svg.words(svg.px(x, x.high), height - 5, text, "end"))
    return parts


def _intensity(row: Row) -> float:
    return (row.flops or 0.0) / (row.bytes_moved or 1.0)
