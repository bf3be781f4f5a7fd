"""A summary as text for a terminal: failures, rows, scores, what is not covered, totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernelkit.report import extent
from kernelkit.report.columns import columns_of, score_columns
from kernelkit.report.rows import Row
from kernelkit.report.scores import Score
from kernelkit.report.summary import Summary
from kernelkit.report.text import axes_text, clean, clean_log, shorten, some, times

AXES_WIDTH = 44
LOG_LINES = 8
LISTED = 40  # names of a gap


def as_text(summary: Summary) -> str:
    """The whole report."""
    parts = ["\n".join(header(summary))]
    failures = alike(summary.failures)
    parts += [_failure(rows) for rows in failures[: extent.FAILURES]]
    if summary.rows:
        parts += [
            as_table(summary.rows[: extent.ROWS]),
            scores_table(summary.scores[: extent.ROWS]),
        ]
    parts += shortened(summary, len(failures))
    parts += [f"{title} ({len(names)}): {_listed(names)}" for title, names in gaps(summary)]
    parts.append(totals(summary))
    return "\n\n".join(parts)


def shortened(summary: Summary, failures: int) -> list[str]:
    """What a form for reading leaves out; `failures` counts those alike as one."""
    found = (
        extent.left_out(range(failures), extent.FAILURES, "failures"),
        extent.left_out(summary.rows, extent.ROWS, "rows"),
        extent.left_out(summary.scores, extent.ROWS, "scores"),
    )
    return [text for text in found if text]


def header(summary: Summary) -> list[str]:
    """Where and when it ran: a line per hardware and set of libraries."""
    lines = []
    for place in summary.environments:
        libs = ", ".join(f"{clean(n)} {clean(v)}" for n, v in place["libs"].items())
        lines.append(f"{clean(place['hardware'])}: {libs or 'libraries not told'}")
        lines.append(f"  {'; '.join(run_facts(place))}")
    return lines or [f"{clean(summary.dataset)}: no traces"]


def run_facts(place: dict) -> list[str]:
    """An environment's times, seeds and methods."""
    when = [clean(place["first"]), clean(place["last"])]
    seeds = some(place["seeds"])
    facts = [f"traces of {' to '.join(dict.fromkeys(when))}", f"seed {seeds or 'not told'}"]
    if place["methods"]:
        cache = f", {'/'.join(map(clean, place['l2']))} L2" if place["l2"] else ""
        facts.append(f"timed by {', '.join(map(clean, place['methods']))}{cache}")
    return facts


def gaps(summary: Summary) -> list[tuple[str, list[str]]]:
    """What is not covered, by title; names are cleaned."""
    found = (
        ("no recorded workload", summary.without_workloads),
        ("no solution", summary.without_solutions),
        ("not run yet", summary.without_traces),
        ("skipped, unreadable", summary.unreadable),
    )
    return [(title, [clean(name) for name in names]) for title, names in found if names]


def as_table(rows: Sequence[Row]) -> str:
    """Rows under their definition, columns aligned."""
    columns = columns_of(list(rows))
    heads = ["", "solution", "axes", *(column.head for column in columns)]
    cells = [
        [row.status, clean(row.solution), shorten(axes_text(row.axes), AXES_WIDTH),
         *(column.text(row) for column in columns)]
        for row in rows
    ]  # fmt: skip
    titles = [f"{clean(row.definition)}  ({clean(row.op_type)}, {clean(row.hardware)})"
              for row in rows]  # fmt: skip
    return _aligned(heads, cells, titles, left=3)


def scores_table(scores: Sequence[Score]) -> str:
    """One line per solution of each definition."""
    columns = score_columns(list(scores))
    heads = ["solution", *(column.head for column in columns)]
    cells = [[clean(s.name), *(column.text(s) for column in columns)] for s in scores]
    titles = [f"{clean(s.definition)}  ({clean(s.hardware)})" for s in scores]
    return _aligned(heads, cells, titles, left=1)


def totals(summary: Summary) -> str:
    """One line: counts by status and the geometric mean of the speedups."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.statuses.items()))
    parts = [f"{len(summary.rows)} traces: {counts or 'none'}"]
    if summary.speedup:
        mean = times(summary.speedup)
        parts.append(f"speedup over the reference {mean} (geometric mean of what passed)")
    if older := sum(row.older_traces for row in summary.rows):
        parts.append(f"{older} older ones do not count")
    if summary.suspects:
        parts.append(f"{len(summary.suspects)} beyond the limit: an error, not a win")
    return "; ".join(parts)


def alike(failures: Iterable[Row]) -> list[list[Row]]:
    """Failures of one solution with the same status and log, together."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in failures:
        found.setdefault((row.definition, row.solution, row.status, row.log), []).append(row)
    return list(found.values())


def _failure(rows: list[Row]) -> str:
    first = rows[0]
    tail = "\n".join(f"    {line}" for line in clean_log(first.log).splitlines()[-LOG_LINES:])
    where = _listed([axes_text(row.axes) for row in rows], "; ")
    return f"{first.status}: {clean(first.solution)} on {where}\n{tail}".rstrip()


def _listed(names: Sequence[str], comma: str = ", ") -> str:
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return comma.join(names[:LISTED]) + rest


def _aligned(
    heads: Sequence[str], cells: Sequence[Sequence[str]], titles: Iterable[str], *, left: int
) -> str:
    """Lines under their titles, the first `left` columns to the left and the others right."""
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]

    def joined(line: Sequence[str]) -> str:
        sides = (cell.ljust(w) if i < left else cell.rjust(w)
                 for i, (cell, w) in enumerate(zip(line, widths, strict=True)))  # fmt: skip
        return ("  " + "  ".join(sides)).rstrip()

    lines, last = [joined(heads)], None
    for title, line in zip(titles, cells, strict=True):
        if title != last:
            lines.append(title)
            last = title
        lines.append(joined(line))
    return "\n".join(lines)
