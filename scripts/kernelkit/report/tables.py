"""A summary as text for a terminal, and the number formats that the page shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kernelkit.report.rows import Row
from kernelkit.report.summary import Summary

AXES_WIDTH = 52
LOG_LINES = 8


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits without an exponent where that is readable; – for None."""
    if value is None:
        return "–"
    if math.isnan(value) or math.isinf(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{decimals}f}"


def latency(row: Row) -> str:
    """The median, with the spread where the trace has it."""
    if row.latency_ms is None:
        return "–"
    if row.p20_ms is None or row.p80_ms is None:
        return f"{number(row.latency_ms)} ms"
    return f"{number(row.latency_ms)} ms [{number(row.p20_ms)}–{number(row.p80_ms)}]"


def shorten(text: str, width: int) -> str:
    """`text`, cut to `width` characters with an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short_axes(axes: dict[str, int]) -> str:
    """Axes for a narrow column; those that follow from others (len_indptr) are left out."""
    return " ".join(f"{name}={value}" for name, value in axes.items() if name[:4] != "len_")


def as_table(rows: Sequence[Row]) -> str:
    """Rows under their definition, columns aligned."""
    heads = ("", "solution", "axes", "latency, median [p20–p80]", "speedup", "max abs err",
             "GB/s", "GFLOP/s")  # fmt: skip
    cells = [_cells(row) for row in rows]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    lines = [_line(heads, widths)]
    last = None
    for row, line in zip(rows, cells, strict=True):
        if row.definition != last:
            lines.append(f"{row.definition}  ({row.op_type})")
            last = row.definition
        lines.append(_line(line, widths))
    return "\n".join(lines)


def as_text(summary: Summary) -> str:
    """The whole report: failures first, then all rows, coverage, totals."""
    parts = []
    for row in summary.failures:
        tail = "\n".join(f"    {line}" for line in row.log.splitlines()[-LOG_LINES:])
        parts.append(f"{row.status}: {row.solution} on {short_axes(row.axes)}\n{tail}")
    if summary.rows:
        parts.append(as_table([row for rows in summary.groups().values() for row in rows]))
    for title, names in (
        ("no recorded workload", summary.without_workloads),
        ("no solution", summary.without_solutions),
        ("not run yet", summary.without_traces),
        ("unreadable", summary.unreadable),
    ):
        if names:
            parts.append(f"{title} ({len(names)}): {', '.join(names)}")
    parts.append(totals(summary))
    return "\n\n".join(parts)


def totals(summary: Summary) -> str:
    """One line: counts by status and the geometric mean of the speedups."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.statuses.items()))
    mean = summary.speedup
    text = f"; speedup over the reference {mean:.2f}x (geometric mean)" if mean else ""
    return f"{len(summary.rows)} traces: {counts or 'none'}{text}"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.status,
        row.solution,
        shorten(short_axes(row.axes), AXES_WIDTH),
        latency(row),
        "–" if row.speedup is None else f"{row.speedup:.2f}x",
        number(row.max_abs, 2),
        number(row.gb_per_s),
        number(row.gflop_per_s),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
    return ("  " + "  ".join([*left, *right])).rstrip()
