"""Numbers and names as text, the same in every form of a report.

Names, logs and axes come from files of others. `clean` makes control characters visible, so that
nothing in a trace can move a terminal's cursor, turn the reading direction or break a line.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence

from kernelkit.report.rows import Row

NONE = "–"
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories
LOG_CHARACTERS = 20_000


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits without an exponent where that is readable; – for None."""
    if value is None:
        return NONE
    if math.isnan(value) or math.isinf(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{decimals}f}"


def times(value: float | None, sign: str = "x") -> str:
    """A quotient: 1.50x, 0.012x, 0 for zero."""
    if value is None:
        return NONE
    return "0" if value == 0 else f"{value:.2f}{sign}" if value >= 0.1 else f"{number(value)}{sign}"


def percent(fraction: float | None, digits: int = 0) -> str:
    """A fraction as a percentage."""
    return NONE if fraction is None else f"{100 * fraction:.{digits}f} %"


def latency(row: Row) -> str:
    """The median with p10 to p90 and its relative error, where the trace has them."""
    if row.latency_ms is None:
        return NONE
    spread = "" if row.p10_ms is None or row.p90_ms is None else f" [{spread_ms(row)}]"
    error = "" if row.relative_error is None else f" ±{100 * row.relative_error:.1f} %"
    return f"{number(row.latency_ms)}{spread}{error}"


def spread_ms(row: Row) -> str:
    """p10 to p90."""
    if row.p10_ms is None or row.p90_ms is None:
        return NONE
    return f"{number(row.p10_ms)}–{number(row.p90_ms)}"


def of_limit(row: Row) -> str:
    """Percent of the limit that binds: `73 % memory`; with a mark where it cannot be."""
    if row.percent_of_limit is None:
        return NONE
    mark = " !" if row.is_suspect else ""
    digits = 0 if row.percent_of_limit >= 10 else 1
    return f"{row.percent_of_limit:.{digits}f} % {row.limit}{mark}"


def axes_text(axes: Mapping[str, int], *, every: bool = False) -> str:
    """Axes for a narrow column; those that follow from others (len_indptr) only if `every`."""
    shown = {n: v for n, v in axes.items() if every or not n.startswith("len_")} or axes
    return " ".join(f"{clean(name)}={value}" for name, value in shown.items())


def clean(text: str) -> str:
    """`text` on one line, with characters that do not show written as \\xNN or \\uNNNN."""
    return "".join(_visible(c) if unicodedata.category(c) in HIDDEN else c for c in text)


def clean_log(text: str) -> str:
    """A log with its lines and tabs; of a long one the beginning and the end."""
    if len(text) > LOG_CHARACTERS:
        half = LOG_CHARACTERS // 2
        left_out = len(text) - 2 * half
        text = f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"
    lines = text.replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return "\n".join(clean(line) for line in lines).strip("\n")


def shorten(text: str, width: int) -> str:
    """`text`, cut to `width` characters with an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def some(values: Sequence[object], most: int = 6) -> str:
    """A list of a few; of more how many."""
    rest = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(clean(str(value)) for value in values[:most]) + rest


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
