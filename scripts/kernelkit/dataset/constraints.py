"""A small, safe evaluator of a definition's constraints; nothing of them is ever executed.

Allowed: names of axes and inputs, numbers, comparisons, + - * // %, and/or/not, `.shape[i]`,
subscripts with an integer, and `.item()`. Anything else raises FormatError.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from kernelkit.errors import FormatError

MOST_CHARACTERS = 500  # of an expression; parsing and walking deeper ones exhausts the stack
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class NotKnown(Exception):
    """The expression needs the values of a tensor of which only the shape is known."""


@dataclass(frozen=True)
class ShapeOnly:
    """A tensor whose values are not at hand."""

    shape: tuple[int, ...]

    def __getitem__(self, index: int) -> NoReturn:
        raise NotKnown

    def item(self) -> NoReturn:
        """Raises NotKnown, as every use of its values does."""
        raise NotKnown


def names(expression: str) -> set[str]:
    """The names that an expression uses. Raises FormatError where it is none."""
    return {node.id for node in ast.walk(_parse(expression)) if isinstance(node, ast.Name)}


def check(expression: str) -> None:
    """Raises FormatError where the expression is no condition, or has more than is allowed."""
    body = _parse(expression).body
    _check(body)
    if not isinstance(body, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        raise FormatError("constraint is no condition", received=expression, allowed="a == b")


def evaluate(expression: str, scope: Mapping[str, Any]) -> bool:
    """Whether the constraint holds; `scope` maps axes to integers, inputs to arrays or ShapeOnly.

    Raises FormatError for unknown names and constructs that are not allowed, NotKnown where the
    values of a tensor are needed and absent.
    """
    tree = _checked(expression)
    try:
        return bool(_known(tree.body, scope))
    except (IndexError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise FormatError(f"constraint {expression!r} cannot be evaluated: {error}") from None


def value(expression: str, scope: Mapping[str, int]) -> int:
    """The number that an expression of axes gives, e.g. `hidden_size // 2`.

    Raises FormatError for unknown names, constructs that are not allowed, and what is no number.
    """
    tree = _parse(expression)
    _check(tree.body)
    try:
        return int(_known(tree.body, scope))
    except (NotKnown, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise FormatError(f"{expression!r} has no value: {error}") from None


def _parse(expression: str) -> ast.Expression:
    if len(expression) > MOST_CHARACTERS:
        raise FormatError(
            "constraint is too long", received=f"{len(expression)} characters",
            allowed=f"at most {MOST_CHARACTERS}",
        )  # fmt: skip
    try:
        return ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormatError("constraint is not an expression", received=expression) from None


@lru_cache(maxsize=512)
def _checked(expression: str) -> ast.Expression:
    """The expression's tree, once it holds nothing but what is allowed."""
    tree = _parse(expression)
    _check(tree.body)
    return tree


def _check(node: ast.AST) -> None:
    if not _allowed(node):
        raise FormatError(
            "constraint has a construct that is not allowed",
            received=ast.unparse(node),
            allowed="names, numbers, comparisons, + - * // %, .shape[i], [i], .item()",
        )
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _check(child)


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float))
    if isinstance(node, ast.BinOp):
        return type(node.op) in _BINARY
    if isinstance(node, ast.Compare):
        return all(type(op) in _COMPARE for op in node.ops)
    if isinstance(node, ast.Attribute):
        return node.attr in ("shape", "item")
    if isinstance(node, ast.Subscript):
        return _index(node) is not None
    if isinstance(node, ast.Call):
        is_item = isinstance(node.func, ast.Attribute) and node.func.attr == "item"
        return is_item and not node.args and not node.keywords
    return isinstance(node, (ast.Name, ast.UnaryOp, ast.BoolOp))


def _index(node: ast.Subscript) -> int | None:
    """The integer of `x[3]` or `x[-1]`."""
    value = node.slice
    sign = 1
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        sign, value = -1, value.operand
    if isinstance(value, ast.Constant) and type(value.value) is int:
        return sign * value.value
    return None


def _value(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in scope:
            raise FormatError("constraint uses an unknown name", received=node.id)
        return scope[node.id]
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_known(node.left, scope), _known(node.right, scope))
    if isinstance(node, ast.UnaryOp):
        value = _known(node.operand, scope)
        return (not value) if isinstance(node.op, ast.Not) else -value
    if isinstance(node, ast.BoolOp):
        values = (bool(_known(part, scope)) for part in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.Compare):
        return _compare(node, scope)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        value = _value(node.func.value, scope)
        return value.item() if hasattr(value, "item") else value
    if isinstance(node, ast.Subscript):
        return _value(node.value, scope)[_index(node)]
    if isinstance(node, ast.Attribute):
        return _value(node.value, scope).shape
    raise FormatError("constraint has a construct that is not allowed", received=ast.unparse(node))


def _known(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    """The value, which is at hand. Raises NotKnown for that of a tensor that is not."""
    value = _value(node, scope)
    if isinstance(value, ShapeOnly):
        raise NotKnown
    return value


def _compare(node: ast.Compare, scope: Mapping[str, Any]) -> bool:
    left = _known(node.left, scope)
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        right = _known(right_node, scope)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True
