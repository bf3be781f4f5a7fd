"""Expressions."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from typing import Any

from kernelkit.sglang.interpret import calls, classes, comparisons, conditions, lookup
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import (
    PLAIN,
    ClassRef,
    External,
    FunctionRef,
    Instance,
    Launch,
    Lazy,
    Unknown,
    choose,
    options,
    truth,
)

MAX_SIZE = 4096  # elements of a list or characters of a string that arithmetic may make


def evaluate(m: Machine, node: ast.expr, frame: Frame) -> Any:
    """The value of an expression; Unknown where it is open."""
    handler = _HANDLERS.get(type(node))
    if handler is None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                evaluate(m, child, frame)
        return Unknown(type(node).__name__)
    return handler(m, node, frame)


def items(m: Machine, iterable: Any, limit: int) -> Iterator[Any]:
    """What a loop over `iterable` sees: its items, or one unknown item."""
    for one in options(iterable):
        if isinstance(one, (list, tuple, range, dict, set, str)) and len(one) <= limit:
            yield from list(one)
        elif isinstance(one, ClassRef) and classes.is_enum(m, one):
            yield from classes.enum_members(m, one)
        else:
            yield Unknown("item")


def _constant(m: Machine, node: ast.Constant, frame: Frame) -> Any:
    return node.value


def _name(m: Machine, node: ast.Name, frame: Frame) -> Any:
    return lookup.name(m, node.id, frame)


def _attribute(m: Machine, node: ast.Attribute, frame: Frame) -> Any:
    return lookup.attribute(m, evaluate(m, node.value, frame), node.attr, node, frame)


def _bool_op(m: Machine, node: ast.BoolOp, frame: Frame) -> Any:
    _, values = conditions.value_of_choice(m, node, frame)
    return choose(*values)


def _unary(m: Machine, node: ast.UnaryOp, frame: Frame) -> Any:
    value = evaluate(m, node.operand, frame)
    if isinstance(node.op, ast.Not):
        decided = truth(value)
        return Unknown("not") if decided is None else not decided
    if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
        return -value
    return Unknown("-")


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip


def _binary(m: Machine, node: ast.BinOp, frame: Frame) -> Any:
    left, right = evaluate(m, node.left, frame), evaluate(m, node.right, frame)
    if isinstance(node.op, ast.MatMult):
        m.record("external", "torch.matmul", frame, node)
    apply = _BINARY.get(type(node.op))
    if apply is None or not (isinstance(left, PLAIN) and isinstance(right, PLAIN)):
        return Unknown("arithmetic")
    if _grows(left, right, node.op):
        return Unknown("too large")
    try:
        return apply(left, right)
    except (TypeError, ValueError, ArithmeticError):
        return Unknown("arithmetic")


def _grows(left: Any, right: Any, op: ast.operator) -> bool:
    """Whether the result could be unreasonably large."""
    if isinstance(op, ast.Mult):
        sized = [v for v in (left, right) if isinstance(v, (list, tuple, str, bytes))]
        counts = [v for v in (left, right) if isinstance(v, int)]
        return bool(sized and counts) and len(sized[0]) * max(counts[0], 0) > MAX_SIZE
    if isinstance(op, (ast.Pow, ast.LShift)):
        return isinstance(right, (int, float)) and abs(right) > 64
    return False


def _compare(m: Machine, node: ast.Compare, frame: Frame) -> Any:
    left = evaluate(m, node.left, frame)
    outcome: Any = True
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = evaluate(m, comparator, frame)
        one = comparisons.compared(op, left, right)
        if one is False:
            return False
        outcome = Unknown("comparison") if one is None else outcome
        left = right
    return outcome


def _if_expression(m: Machine, node: ast.IfExp, frame: Frame) -> Any:
    decided, text, negated = conditions.decide(m, node.test, frame)
    if decided is not None:
        return evaluate(m, node.body if decided else node.orelse, frame)
    values = []
    for condition, branch in ((text, node.body), (negated, node.orelse)):
        m.conditions.append(condition)
        values.append(evaluate(m, branch, frame))
        m.conditions.pop()
    return choose(*values)


def _subscript(m: Machine, node: ast.Subscript, frame: Frame) -> Any:
    owner, key = evaluate(m, node.value, frame), evaluate(m, node.slice, frame)
    return choose(*(_item(m, one, key, node, frame) for one in options(owner)))


def _item(m: Machine, owner: Any, key: Any, node: ast.Subscript, frame: Frame) -> Any:
    if isinstance(owner, FunctionRef) and classes.is_triton(owner):
        return Launch(owner)
    if isinstance(owner, ClassRef) and isinstance(key, str) and classes.is_enum(m, owner):
        return classes.class_member(m, owner, key)
    if isinstance(owner, (list, tuple, str, dict, range)) and isinstance(key, PLAIN):
        try:
            held = owner[key]
            return lookup.imported(m, held) if isinstance(held, Lazy) else held
        except (KeyError, IndexError, TypeError):
            return Unknown("item")
    if isinstance(owner, (list, tuple)) and 0 < len(owner) <= 8:
        return choose(*owner)
    if isinstance(owner, dict) and 0 < len(owner) <= 8:
        return choose(*owner.values())
    if isinstance(owner, Instance) and isinstance(key, str) and key in owner.attrs:
        return owner.attrs[key]
    if isinstance(owner, (Instance, ClassRef)):
        return owner if isinstance(owner, ClassRef) else calls.method(
            m, owner, "__getitem__", [key], node, frame)  # fmt: skip
    return Unknown("item")


def _slice(m: Machine, node: ast.Slice, frame: Frame) -> Any:
    parts = [evaluate(m, p, frame) if p else None for p in (node.lower, node.upper, node.step)]
    return slice(*parts) if all(isinstance(p, (int, type(None))) for p in parts) else Unknown(":")


def _sequence(m: Machine, node: ast.List | ast.Tuple | ast.Set, frame: Frame) -> Any:
    values: list[Any] = []
    for part in node.elts:
        if isinstance(part, ast.Starred):
            values += items(m, evaluate(m, part.value, frame), MAX_SIZE)
        else:
            values.append(evaluate(m, part, frame))
    return tuple(values) if isinstance(node, ast.Tuple) else values


def _dict(m: Machine, node: ast.Dict, frame: Frame) -> Any:
    made: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            spread = evaluate(m, value, frame)
            made.update(spread if isinstance(spread, dict) else {})
            continue
        name = evaluate(m, key, frame)
        held = _unfollowed(value, frame) or evaluate(m, value, frame)
        if isinstance(name, (str, int, float, bool, type(None), Instance, External, ClassRef)):
            made[name] = held
    return made


def _unfollowed(value: ast.expr, frame: Frame) -> Any:
    """An import in a module's table stays unfollowed until somebody takes it out."""
    if not isinstance(value, ast.Name) or frame.function != "<module>":
        return None
    held = frame.file.names.get(value.id)
    return held if isinstance(held, Lazy) else None


def _joined(m: Machine, node: ast.JoinedStr, frame: Frame) -> Any:
    parts = []
    for part in node.values:
        value = evaluate(m, part.value if isinstance(part, ast.FormattedValue) else part, frame)
        if not isinstance(value, (str, int, float)):
            return Unknown("text")
        parts.append(str(value))
    return "".join(parts)


def _lambda(m: Machine, node: ast.Lambda, frame: Frame) -> Any:
    closure = () if frame.function == "<module>" else frame.scopes
    return FunctionRef(node, frame.file, closure)


def _comprehension(m: Machine, node: Any, frame: Frame) -> Any:
    inner = Frame(frame.file, ({}, *frame.scopes), frame.function, frame.receiver, frame.owner)
    made: list[Any] = []
    exact = _fill(m, node, 0, inner, made)
    if exact is None:
        return Unknown("comprehension")
    if isinstance(node, ast.DictComp):
        return dict(made) if exact and all(_hashable(k) for k, _ in made) else Unknown("dict")
    return made if exact or len(made) == 1 else Unknown("list")


def _hashable(key: Any) -> bool:
    return isinstance(key, (str, int, float, bool, type(None), Instance))


def _fill(m: Machine, node: Any, depth: int, frame: Frame, made: list[Any]) -> bool | None:
    """Add the items of the generators from `depth` on.

    False if an iterable is open (it gives one item that stands for all), None if a test is.
    """
    from kernelkit.sglang.interpret.statements import bind_target

    if depth == len(node.generators):
        dictionary = isinstance(node, ast.DictComp)
        made.append(
            (evaluate(m, node.key, frame), evaluate(m, node.value, frame))
            if dictionary else evaluate(m, node.elt, frame)
        )  # fmt: skip
        return True
    generator = node.generators[depth]
    iterable = evaluate(m, generator.iter, frame)
    exact: bool | None = isinstance(iterable, PLAIN)
    for item in items(m, iterable, MAX_SIZE):
        bind_target(m, generator.target, item, frame)
        tests = [truth(evaluate(m, test, frame)) for test in generator.ifs]
        if False in tests:
            continue
        inner = _fill(m, node, depth + 1, frame, made)
        if inner is None or None in tests or exact is None:
            exact = None
        else:
            exact = exact and inner
    return exact


def _named(m: Machine, node: ast.NamedExpr, frame: Frame) -> Any:
    frame.names[node.target.id] = value = evaluate(m, node.value, frame)
    return value


def _call(m: Machine, node: ast.Call, frame: Frame) -> Any:
    return calls.run_call(m, node, frame)


def _await(m: Machine, node: ast.Await, frame: Frame) -> Any:
    return evaluate(m, node.value, frame)


_HANDLERS: dict[type[ast.expr], Callable[..., Any]] = {
    ast.Constant: _constant, ast.Name: _name, ast.Attribute: _attribute, ast.BoolOp: _bool_op,
    ast.UnaryOp: _unary, ast.BinOp: _binary, ast.Compare: _compare, ast.IfExp: _if_expression,
    ast.Subscript: _subscript, ast.Slice: _slice, ast.List: _sequence, ast.Tuple: _sequence,
    ast.Set: _sequence, ast.Dict: _dict, ast.JoinedStr: _joined, ast.Lambda: _lambda,
    ast.ListComp: _comprehension, ast.SetComp: _comprehension, ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension, ast.NamedExpr: _named, ast.Call: _call, ast.Await: _await,
}  # fmt: skip
