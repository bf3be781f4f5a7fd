"""Conditions: decided, or the part that stays open as text."""

from __future__ import annotations

import ast
from typing import Any

from kernelkit.sglang.interpret import expressions
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import truth

LONGEST = 160  # characters of one condition; longer ones are cut


def decide(m: Machine, test: ast.expr, frame: Frame) -> tuple[bool | None, str, str]:
    """Whether `test` holds (None: open), the open part as text, and its negation."""
    decided, left = _reduce(m, test, frame)
    if decided is not None or left is None:
        return decided, "", ""
    if left is not test:
        return None, *_texts(left)
    if "texts" not in test.__dict__:  # kept at the node: most tests are asked again and again
        test.__dict__["texts"] = _texts(test)
    return None, *test.__dict__["texts"]


def _texts(test: ast.expr) -> tuple[str, str]:
    """The condition and its negation as text."""
    text = " ".join(ast.unparse(test).split())
    return _cut(text), _cut(_negated(test, text))


def value_of_choice(m: Machine, node: ast.BoolOp, frame: Frame) -> tuple[bool | None, list[Any]]:
    """`a or b` and `a and b` as values: whether one decides, and the values it can have."""
    stops = isinstance(node.op, ast.Or)
    found: list[Any] = []
    for part in node.values:
        value = expressions.evaluate(m, part, frame)
        decided = truth(value)
        if decided is stops:
            # What is open before a settling True or False changes no condition.
            settled = not found or isinstance(value, bool)
            return (True if settled else None), [value] if settled else [*found, value]
        if decided is None:
            found.append(value)
    return (True if not found else None), found or [value]


def _reduce(m: Machine, test: ast.expr, frame: Frame) -> tuple[bool | None, ast.expr | None]:
    """The decided truth, or the test without the parts that are decided."""
    if isinstance(test, ast.BoolOp):
        return _reduce_parts(m, test, frame)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        decided, left = _reduce(m, test.operand, frame)
        if decided is not None or left is None:
            return (None if decided is None else not decided), test
        return None, ast.UnaryOp(ast.Not(), left)
    return truth(expressions.evaluate(m, test, frame)), test


def _reduce_parts(
    m: Machine, test: ast.BoolOp, frame: Frame
) -> tuple[bool | None, ast.expr | None]:
    stops = isinstance(test.op, ast.Or)  # `or` is settled by one true part, `and` by a false one
    left: list[ast.expr] = []
    for part in test.values:
        decided, rest = _reduce(m, part, frame)
        if decided is stops:
            return stops, None
        if decided is None:
            left.append(rest or part)
    if not left:
        return not stops, None
    return None, left[0] if len(left) == 1 else ast.BoolOp(test.op, left)


def _negated(test: ast.expr, text: str) -> str:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return " ".join(ast.unparse(test.operand).split())
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        flipped = _FLIPPED.get(type(test.ops[0]))
        if flipped:
            return ast.unparse(ast.Compare(test.left, [flipped()], test.comparators))
    simple = isinstance(test, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    return f"not {text}" if simple else f"not ({text})"


_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
