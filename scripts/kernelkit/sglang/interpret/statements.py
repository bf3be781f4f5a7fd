"""Statements. A condition that is open is followed both ways; the states are joined after it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from kernelkit.sglang.interpret import classes, conditions, expressions, lookup
from kernelkit.sglang.interpret.branches import follow_both, under
from kernelkit.sglang.interpret.ends import BREAKS, CONTINUES, FALLS, LEAVES, RAISES
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import (
    Choice,
    ClassRef,
    ExternalObject,
    FunctionRef,
    Instance,
    Unknown,
    choose,
    options,
)

MAX_ITEMS = 512  # concrete iterations of one loop


def run_block(m: Machine, body: Sequence[ast.stmt], frame: Frame) -> str:
    """Run statements; how control leaves them. Conditions of early returns hold until the end."""
    pushed = len(m.conditions)
    try:
        for statement in body:
            if not m.spend():
                return FALLS
            ends = run_statement(m, statement, frame)
            if ends:
                return ends
        return FALLS
    finally:
        del m.conditions[pushed:]


def run_statement(m: Machine, node: ast.stmt, frame: Frame) -> str:
    """Run one statement."""
    handler = _HANDLERS.get(type(node))
    return handler(m, node, frame) or FALLS if handler else FALLS


def _expression(m: Machine, node: ast.Expr, frame: Frame) -> None:
    expressions.evaluate(m, node.value, frame)


def _assign(m: Machine, node: ast.Assign, frame: Frame) -> None:
    if _left_out(m, node.targets):
        return
    value = expressions.evaluate(m, node.value, frame)
    for target in node.targets:
        bind_target(m, target, value, frame)


def _left_out(m: Machine, targets: Sequence[ast.expr]) -> bool:
    """Whether the targets are attributes that nobody wants built."""
    for target in targets:
        if isinstance(target, ast.Attribute) and target.attr in m.left_out:
            m.left.add(target.attr)
            return True
    return False


def _annotated(m: Machine, node: ast.AnnAssign, frame: Frame) -> None:
    if node.value is not None and not _left_out(m, [node.target]):
        bind_target(m, node.target, expressions.evaluate(m, node.value, frame), frame)


def _augmented(m: Machine, node: ast.AugAssign, frame: Frame) -> None:
    read = ast.copy_location(ast.BinOp(_as_load(node.target), node.op, node.value), node)
    bind_target(m, node.target, expressions.evaluate(m, read, frame), frame)


def _as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return target  # attributes and subscripts are evaluated the same way whatever their context


def bind_target(m: Machine, target: ast.expr, value: Any, frame: Frame) -> None:
    """Assign `value` to a name, attribute, item or tuple of these."""
    if isinstance(target, ast.Name):
        _set_name(target.id, value, frame)
    elif isinstance(target, ast.Attribute):
        _set_attribute(expressions.evaluate(m, target.value, frame), target.attr, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        for part, item in zip(target.elts, _unpacked(value, target), strict=True):
            bind_target(m, part, item, frame)
    elif isinstance(target, ast.Subscript):
        _set_item(m, target, value, frame)


def _set_name(name: str, value: Any, frame: Frame) -> None:
    """A local name; a declared global one joins what other writers gave it."""
    if name not in frame.globals:
        frame.names[name] = value
        return
    held = frame.file.names.get(name)
    frame.file.names[name] = value if held is None else choose(held, value)


def _global(m: Machine, node: ast.Global, frame: Frame) -> None:
    frame.globals.update(node.names)


def _set_attribute(owner: Any, name: str, value: Any) -> None:
    for one in options(owner):
        if isinstance(one, Instance):
            known = isinstance(owner, Choice) and name in one.attrs
            one.attrs[name] = choose(one.attrs[name], value) if known else value
        elif isinstance(one, ClassRef):
            one.values[name] = value


def _set_item(m: Machine, target: ast.Subscript, value: Any, frame: Frame) -> None:
    owner = expressions.evaluate(m, target.value, frame)
    key = expressions.evaluate(m, target.slice, frame)
    if isinstance(owner, dict) and isinstance(key, (str, int)):
        owner[key] = value
    elif isinstance(owner, list) and isinstance(key, int) and -len(owner) <= key < len(owner):
        owner[key] = value


def _unpacked(value: Any, target: ast.Tuple | ast.List) -> list[Any]:
    """One value for each part of the target; unknown ones where the lengths do not say."""
    count = len(target.elts)
    starred = any(isinstance(part, ast.Starred) for part in target.elts)
    if isinstance(value, Choice):
        columns = [_unpacked(option, target) for option in value.options]
        return [choose(*column) for column in zip(*columns, strict=True)]
    if isinstance(value, (tuple, list)) and len(value) == count and not starred:
        return list(value)
    return [Unknown(ast.unparse(part)) for part in target.elts]


def _if(m: Machine, node: ast.If, frame: Frame) -> str:
    decided, text, negated = conditions.decide(m, node.test, frame)
    if decided is not None:
        branch = node.body if decided else node.orelse
        return _inline(m, branch, frame)
    return follow_both(
        m, frame, text, negated,
        lambda: run_block(m, node.body, frame), lambda: run_block(m, node.orelse, frame),
    )  # fmt: skip


def _inline(m: Machine, body: Sequence[ast.stmt], frame: Frame) -> str:
    """A decided branch: what it leaves open (early returns) holds after it too."""
    for statement in body:
        ends = run_statement(m, statement, frame)
        if ends:
            return ends
    return FALLS


def _for(m: Machine, node: ast.For, frame: Frame) -> str:
    for item in expressions.items(m, expressions.evaluate(m, node.iter, frame), MAX_ITEMS):
        bind_target(m, node.target, item, frame)
        outer, frame.escaped = frame.escaped, False
        ends = run_block(m, node.body, frame)
        escaped, frame.escaped = frame.escaped, outer
        if ends in (LEAVES, RAISES) and not escaped:
            return ends
        if ends == BREAKS and not escaped:
            return FALLS
    return run_block(m, node.orelse, frame)


def _while(m: Machine, node: ast.While, frame: Frame) -> None:
    decided, text, _ = conditions.decide(m, node.test, frame)
    if decided is None:
        under(m, text, lambda: run_block(m, node.body, frame))
    elif decided:
        run_block(m, node.body, frame)


def _with(m: Machine, node: ast.With, frame: Frame) -> str:
    for item in node.items:
        value = expressions.evaluate(m, item.context_expr, frame)
        if item.optional_vars is not None:
            entered = value if isinstance(value, (Instance, ExternalObject)) else Unknown("with")
            bind_target(m, item.optional_vars, entered, frame)
    return _inline(m, node.body, frame)


def _try(m: Machine, node: ast.Try, frame: Frame) -> str:
    """The body is taken to succeed; handlers are not followed."""
    ends = _inline(m, node.body, frame)
    if not ends:
        ends = _inline(m, node.orelse, frame)
    return _inline(m, node.finalbody, frame) or ends


def _return(m: Machine, node: ast.Return, frame: Frame) -> str:
    frame.returned.append(
        expressions.evaluate(m, node.value, frame) if node.value is not None else None
    )
    return LEAVES


def _raise(m: Machine, node: ast.Raise, frame: Frame) -> str:
    return RAISES


def _break(m: Machine, node: ast.Break, frame: Frame) -> str:
    return BREAKS


def _continue(m: Machine, node: ast.Continue, frame: Frame) -> str:
    return CONTINUES


def _function(m: Machine, node: ast.FunctionDef, frame: Frame) -> None:
    closure = () if frame.function == "<module>" else frame.scopes
    frame.names[node.name] = FunctionRef(node, frame.file, closure)


def _class(m: Machine, node: ast.ClassDef, frame: Frame) -> None:
    frame.names[node.name] = classes.class_ref(node, frame.file, frame.names)


def _import(m: Machine, node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
    lookup.run_import(m, node, frame)


def _match(m: Machine, node: ast.Match, frame: Frame) -> str:
    subject = ast.unparse(node.subject)
    ends = []
    for case in node.cases:
        text = f"{subject} matches {ast.unparse(case.pattern)}"
        ends.append(under(m, text, lambda body=case.body: run_block(m, body, frame)))
    return LEAVES if ends and all(ends) else FALLS


_HANDLERS: dict[type[ast.stmt], Callable[..., Any]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.If: _if,
    ast.For: _for,
    ast.While: _while,
    ast.With: _with,
    ast.Try: _try,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.Match: _match,
    ast.Global: _global,
}
