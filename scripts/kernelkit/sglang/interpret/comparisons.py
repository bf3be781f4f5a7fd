"""Comparisons of values, of which some are open."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from kernelkit.sglang.interpret.values import (
    PLAIN,
    Choice,
    ClassRef,
    External,
    Instance,
    Unknown,
    options,
)


def compared(op: ast.cmpop, left: Any, right: Any) -> bool | None:
    """The outcome of one comparison; None where it is open."""
    if type(left) is Choice or type(right) is Choice:
        found = {compared(op, a, b) for a in options(left) for b in options(right)}
        return found.pop() if len(found) == 1 else None
    if type(left) is Unknown or type(right) is Unknown:
        return None
    plain = isinstance(left, PLAIN) and isinstance(right, PLAIN)
    if isinstance(op, (ast.Is, ast.Eq, ast.IsNot, ast.NotEq)):
        wanted = isinstance(op, (ast.Is, ast.Eq))
        if plain:
            return (left == right) is wanted
        return _identical(left, right, wanted)
    if isinstance(op, (ast.In, ast.NotIn)):
        return _contained(left, right, isinstance(op, ast.In))
    return _ordered(op, left, right) if plain else None


def _identical(left: Any, right: Any, wanted: bool) -> bool | None:
    """Equality where one side is no plain value."""
    if left is right:
        return wanted
    if left is None or right is None:
        return not wanted
    if isinstance(left, External) and isinstance(right, External):
        return (left == right) is wanted if left.path.startswith("torch.") else None
    for enum, other in ((left, right), (right, left)):
        if isinstance(enum, Instance) and "_value_" in enum.attrs:
            both = isinstance(other, Instance) and "_value_" in other.attrs
            return not wanted if both else _identical_value(enum.attrs["value"], other, wanted)
    if isinstance(left, ClassRef) and isinstance(right, ClassRef):
        return not wanted
    return None


def _identical_value(value: Any, other: Any, wanted: bool) -> bool | None:
    """A member of a string enumeration equals its text."""
    return (value == other) is wanted if isinstance(other, str) else None


def _contained(item: Any, container: Any, wanted: bool) -> bool | None:
    if isinstance(container, Instance):
        return (item in container.attrs) is wanted if isinstance(item, str) else None
    if isinstance(container, str):
        return (item in container) is wanted if isinstance(item, str) else None
    if not isinstance(container, (list, tuple, set, dict, range)):
        return None
    found = [compared(ast.Eq(), item, other) for other in container]
    if True in found:
        return wanted
    return None if None in found else not wanted


_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def _ordered(op: ast.cmpop, left: Any, right: Any) -> bool | None:
    try:
        return bool(_ORDER[type(op)](left, right))
    except (TypeError, KeyError):
        return None
