"""A summary as Markdown, as CSV and as JSON: for a pull request, a spreadsheet, a program."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from kernelkit.report import extent, tables
from kernelkit.report.columns import columns_of, score_columns
from kernelkit.report.rows import Row
from kernelkit.report.scores import Score
from kernelkit.report.summary import Summary, grouped
from kernelkit.report.text import axes_text, clean, clean_log

FORMULA = ("=", "+", "-", "@")  # with these a spreadsheet takes a cell for a formula
LOG_OF_A_PASS = 500


def as_markdown(summary: Summary) -> str:
    """Tables in GitHub's Markdown. Names stand in code spans, so that they link nothing."""
    parts = [f"# Kernel report: {_code(summary.dataset)}"]
    parts.append("\n".join(f"- {_plain_line(line.strip())}" for line in tables.header(summary)))
    parts.append(_plain_line(tables.totals(summary)))
    failures = tables.alike(summary.failures)
    if failures:
        parts.append("## Failures")
        parts += [_failure(rows) for rows in failures[: extent.FAILURES]]
    if summary.rows:
        parts += ["## Scores", _scores(summary.scores[: extent.ROWS])]
    parts += [_plain_line(text) for text in tables.shortened(summary, len(failures))]
    for (definition, hardware), rows in grouped(summary.rows[: extent.ROWS]).items():
        parts += [f"## {_code(definition)} on {_code(hardware)}", _rows(rows)]
    for title, names in tables.gaps(summary):
        parts += [
            f"## {title.capitalize()}",
            "\n".join(f"- {_code(name)}" for name in extent.names(names)),
        ]
    return "\n\n".join(parts) + "\n"


def csv_lines(summary: Summary) -> Iterator[str]:
    """One line per row, with every number as it is and an empty field where there is none.

    Text that a spreadsheet would take for a formula gets a quote mark before it.
    """
    names = [field.name for field in fields(Row)]
    for row in [None, *summary.rows]:
        output = io.StringIO()
        cells = names if row is None else [_field(getattr(row, name)) for name in names]
        csv.writer(output, lineterminator="\n").writerow(cells)
        yield output.getvalue()


def json_parts(summary: Summary, **more: Any) -> Iterator[str]:
    """One JSON document, row by row; infinities and NaN are text, since JSON has none."""
    plain = {k: v for k, v in vars(summary).items() if k not in ("rows", "scores", "authors")}
    head = {
        **plain,
        **more,
        "statuses": summary.statuses,
        "geometric_mean_speedup": summary.speedup,
        "scores": [_score(score) for score in summary.scores],
        "authors": [_score(score) for score in summary.authors],
        "traces": [],
    }
    start, end = _dumped(head).rsplit("[]", 1)
    yield f"{start}["
    comma = ""
    for row in summary.rows:
        text = _dumped({**asdict(row), "log": _log(row)}).replace("\n", "\n    ")
        yield f"{comma}\n    {text}"
        comma = ","
    yield f"{comma and chr(10) + '  '}]{end}\n"


def _dumped(value: object) -> str:
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _score(score: Score) -> dict[str, Any]:
    plain = asdict(score)
    for name in ("fast_p", "win_p"):
        plain[name] = {f"{p:g}": share for p, share in plain[name].items()}
    return plain


def _log(row: Row) -> str:
    return clean_log(row.log) if not row.passed else row.log[-LOG_OF_A_PASS:]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _field(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, dict):
        return _field(" ".join(f"{name}={item}" for name, item in value.items()))
    if isinstance(value, str):
        text = clean_log(value)
        return f"'{text}" if text.startswith(FORMULA) else text
    return value


def _rows(rows: list[Row]) -> str:
    columns = columns_of(rows)
    heads = ["solution", "axes", "status", *(column.head for column in columns)]
    lines = [
        [_code(row.solution), _code(axes_text(row.axes)), row.status,
         *(_plain_line(column.text(row)) for column in columns)]
        for row in rows
    ]  # fmt: skip
    return _table(heads, lines, left=3)


def _scores(scores: list[Score]) -> str:
    columns = score_columns(scores)
    heads = ["definition", "solution", *(column.head for column in columns)]
    lines = [[_code(s.definition), _code(s.name), *(c.text(s) for c in columns)] for s in scores]
    return _table(heads, lines, left=2)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]], *, left: int) -> str:
    rule = ["---" if i < left else "---:" for i in range(len(heads))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, rule, *lines])


def _failure(rows: list[Row]) -> str:
    row = rows[0]
    log = clean_log(row.log)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", log))])
    title = f"**{row.status}** {_code(row.solution)} on {_code(row.definition)}"
    where = ", ".join(_code(axes_text(one.axes)) for one in rows)
    return f"{title}, {where}\n\n{fence}text\n{log}\n{fence}"


def _code(text: str) -> str:
    """A code span that also holds in a table."""
    shown = clean(text).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}" if shown else "` `"


def _plain_line(text: str) -> str:
    """Text whose characters mean nothing to Markdown."""
    return re.sub(r"([\\`*\[\]<>|#~@])", r"\\\1", clean(text))
