"""Plain-PyTorch references, one file each, embedded verbatim in definitions.

A file is a whole program: imports torch and math only, defines `run` (arguments in the order of
the definition's inputs) last, and holds what a definition fixes (an epsilon, a top-k) as top-level
constants in capitals. `source` returns its text with those constants set.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

FOLDER = Path(__file__).parent


def source(name: str, **constants: object) -> str:
    """The text of references/{name}.py with its top-level constants replaced.

    Raises KeyError for a constant that the file does not have.
    """
    lines, places = _template(name)
    changed = list(lines)
    for constant, value in constants.items():
        if constant not in places:
            raise KeyError(f"references/{name}.py has no top-level constant {constant}")
        first, last = places[constant]
        changed[first] = f"{constant} = {value!r}"
        for line in range(first + 1, last + 1):
            changed[line] = ""
    return "\n".join(changed) + "\n"


@functools.cache
def _template(name: str) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """The file's lines and, for each top-level CONSTANT, its first and last line (from 0)."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    places: dict[str, tuple[int, int]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            target = node.targets[0].id
            if target.isupper():
                places[target] = (node.lineno - 1, (node.end_lineno or node.lineno) - 1)
    return text.splitlines(), places
