"""Top-level constants (NAME = literal, in capitals) of a source, set to a definition's values."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator, Mapping

from kernelkit import ops
from kernelkit.dataset.definition import Definition

C_FAMILY = (".cu", ".cuh", ".cpp", ".cc", ".h", ".hpp")
_CONSTEXPR = re.compile(r"^(?P<head>constexpr \w+ )(?P<name>[A-Z][A-Z0-9_]*) = [^;\n]+;", re.M)


def values_of(definition: Definition) -> dict[str, object]:
    """By lower-case name: const axes, and what the family says that the reference fixes (eps)."""
    known = definition.op_type in ops.OP_TYPES
    fixed = ops.family(definition.op_type).semantics(definition) if known else {}
    return {**definition.const_axes, **{n: v for n, v in fixed.items() if v is not None}}


def fill(path: str, text: str, values: Mapping[str, object]) -> str:
    """A source with its constants set: Python's `NAME = literal`, C's `constexpr type NAME = `."""
    if path.endswith(".py"):
        return set_constants(text, values)
    return set_constexpr(text, values) if path.endswith(C_FAMILY) else text


def set_constexpr(text: str, values: Mapping[str, object]) -> str:
    """As `set_constants`, for C++ and CUDA: a number or a truth at the beginning of a line."""

    def replaced(match: re.Match[str]) -> str:
        value = wanted.get(match["name"])
        if value is None:
            return match[0]
        return f"{match['head']}{match['name']} = {json.dumps(value)};"

    wanted = {name.upper(): value for name, value in values.items()}
    return _CONSTEXPR.sub(replaced, text)


def set_constants(text: str, values: Mapping[str, object]) -> str:
    """`text`, a Python source, with the constants set that `values` names, all else unchanged.

    The value None sets nothing. A text that is no valid Python is returned as it is.
    """
    wanted = {name.upper(): value for name, value in values.items() if value is not None}
    lines = list(io.StringIO(text, newline=""))  # as the parser counts lines
    for name, value in reversed(list(_assigned(text))):
        if name in wanted:
            lines[value.lineno - 1 : value.end_lineno] = [_replaced(lines, value, wanted[name])]
    return "".join(lines)


def constant_names(text: str) -> list[str]:
    """The names of the top-level constants."""
    return [name for name, _ in _assigned(text)]


def _replaced(lines: list[str], node: ast.expr, value: object) -> str:
    """The lines of `node` with its text replaced; columns count UTF-8 bytes."""
    first = lines[node.lineno - 1].encode()
    last = lines[(node.end_lineno or node.lineno) - 1].encode()
    return (first[: node.col_offset] + repr(value).encode() + last[node.end_col_offset :]).decode()


def _assigned(text: str) -> Iterator[tuple[str, ast.expr]]:
    """Name and value of every top-level constant, in order."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign):
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id.isupper() and _is_literal(value):
            yield target.id, value


def _is_literal(node: ast.expr | None) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        node = node.operand
    return isinstance(node, ast.Constant)
