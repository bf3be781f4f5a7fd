"""The two tables of a solution's main.py: what may be tuned, and what was found best.

    TUNING = {"size": "batch_size", "parameters": {"BLOCK": [32, 64], "num_warps": [4, 8]}}

    # tuned: begin
    TUNED = [{"up_to": 64, "BLOCK": 32, "num_warps": 4}, {"up_to": None, ...}]
    # tuned: end

`size` is the axis that rows go by: the first whose `up_to` reaches it counts, None reaches all.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from typing import Any

from kernelkit.errors import FormatError

BLOCK = re.compile(r"^(# tuned: begin[^\n]*\n).*?^(# tuned: end[^\n]*)$", re.M | re.S)
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """What a main.py declares."""

    size: str
    space: dict[str, list[Any]]
    rows: list[Parameters]

    def row(self, size: int) -> Parameters:
        """The parameters in force for a size."""
        found = next(r for r in self.rows if r["up_to"] is None or size <= r["up_to"])
        return {name: value for name, value in found.items() if name != "up_to"}


def read(text: str, name: str = "main.py") -> Tables:
    """The tables of a source. Raises FormatError where they are absent or contradict each other."""
    found = {name: _literal(text, name) for name in ("TUNING", "TUNED")}
    tuning, rows = found["TUNING"], found["TUNED"]
    if not isinstance(tuning, dict) or not isinstance(rows, list) or not BLOCK.search(text):
        raise FormatError(
            f"{name}: nothing to tune",
            allowed="TUNING = {'size': ..., 'parameters': ...}, and TUNED between its markers",
            next_step="start from new_solution.py --template fast_kernel, or declare both",
        )
    space = tuning.get("parameters", {})
    for row in rows:
        if not isinstance(row, dict) or set(row) != {"up_to", *space}:
            raise FormatError(f"{name}: a row of TUNED is not of TUNING's names", received=str(row))
    if not rows or rows[-1]["up_to"] is not None:
        raise FormatError(f"{name}: the last row of TUNED serves all: up_to is None")
    return Tables(str(tuning["size"]), space, rows)


def _literal(text: str, name: str) -> Any:
    """The value of a top-level assignment; None where there is none."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return None
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                return None
    return None


def with_rows(text: str, rows: list[Parameters]) -> str:
    """The source with TUNED set to `rows`, formatted as ruff would."""
    lines = ["TUNED = [\n"]
    for row in rows:
        lines += ["    {\n", *(f"        {_item(n, v)},\n" for n, v in row.items()), "    },\n"]
    table = "".join([*lines, "]\n"])
    return BLOCK.sub(lambda match: match[1] + table + match[2], text)


def _item(name: str, value: Any) -> str:
    return f'"{name}": {value!r}'


def rows_of(winners: dict[int, Parameters]) -> list[Parameters]:
    """Rows from the best parameters of some sizes: a size goes by the nearest of them, by ratio;
    neighbours that agree share a row."""
    sizes = sorted(winners)
    rows: list[Parameters] = []
    for size, above in zip(sizes, [*sizes[1:], None], strict=True):
        up_to = None if above is None else math.isqrt(size * above)
        if rows and {**rows[-1], "up_to": None} == {"up_to": None, **winners[size]}:
            rows[-1]["up_to"] = up_to
        else:
            rows.append({"up_to": up_to, **winners[size]})
    return rows
