"""Rules of inputs: shapes and constants that contradict the definition, inputs left unread."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.syntax import Function, literal, names_in, positional
from kernelkit.solutions.constants import values_of


def shapes(context: Context) -> Iterator[Finding]:
    """KS111, and KS112 for asserted sizes."""
    for event in context.events("unpack"):
        role = next(iter(event.value.alias), None)
        if role is None or event.value.steps or len(event.value.alias) != 1:
            continue
        spec = context.definition.inputs.get(role)
        targets = event.node.elts  # type: ignore[attr-defined]
        starred = any(isinstance(item, ast.Starred) for item in targets)
        if spec is None or spec.shape is None or starred:
            continue
        if len(targets) != len(spec.shape):
            text = (
                f"{role} has {len(spec.shape)} axes ({', '.join(spec.shape)}), not {len(targets)}"
            )
            yield at("KS111", event, text)
            continue
        sizes = {
            t.id: a for t, a in zip(targets, spec.shape, strict=True) if isinstance(t, ast.Name)
        }
        yield from _asserted(context, event.module, sizes)


def _asserted(context: Context, module: object, sizes: dict[str, str]) -> Iterator[Finding]:
    """`assert heads == 16` where the definition has 32."""
    for node in module.nodes:  # type: ignore[attr-defined]
        test = node.test if isinstance(node, ast.Assert) else None
        if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq):
            continue
        name, value = names_in(test.left), literal(test.comparators[0])
        if isinstance(test.left, ast.Name) and isinstance(value, int) and name <= sizes.keys():
            axis = sizes[test.left.id]
            fixed = context.const.get(axis)
            if fixed is not None and fixed != value:
                text = f"asserts {test.left.id} == {value}, the definition's {axis} is {fixed}"
                yield finding("KS112", module, node, text)  # type: ignore[arg-type]


def constants(context: Context) -> Iterator[Finding]:
    """KS112."""
    fixed = {name.upper(): value for name, value in values_of(context.definition).items()}
    for module in context.modules.values():
        for name, node in module.globals.items():
            value = literal(node)
            if name in fixed and value is not None and value != fixed[name]:
                text = f"{name} = {value}, the definition has {fixed[name]}"
                yield finding("KS112", module, node, text)


def unread(context: Context) -> Iterator[Finding]:
    """KS113; kv_last_page_len has a code of its own (KS305)."""
    run, home = context.run, context.home
    if run is None or home is None or run.args.vararg:
        return
    used = names_in(ast.Module(body=run.body, type_ignores=[]))
    needed = _read_by_reference(context)
    for own, role in context.roles.items():
        if own in used or role not in needed or role == "kv_last_page_len":
            continue
        yield finding("KS113", home, run, f"{role} is never read")


def _read_by_reference(context: Context) -> set[str]:
    tree = ast.parse(context.definition.reference)
    run = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    used = names_in(ast.Module(body=run.body, type_ignores=[]))
    held = dict(zip(positional(run), context.definition.inputs, strict=False))
    return {role for own, role in held.items() if own in used}


def optional(context: Context) -> Iterator[Finding]:
    """KS114."""
    run, home = context.run, context.home
    if run is None or home is None:
        return
    for own, role in context.roles.items():
        spec = context.definition.inputs.get(role)
        if spec is not None and spec.optional and _used_blindly(run, own):
            yield finding("KS114", home, run, f"{role} may be None")


def _used_blindly(run: Function, name: str) -> bool:
    """Whether a parameter's attributes or elements are used and nothing asks whether it is None."""
    blind = False
    for node in ast.walk(run):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.value, ast.Name):
            blind |= node.value.id == name
        if isinstance(node, (ast.Compare, ast.If, ast.IfExp, ast.BoolOp)):
            tested = node if isinstance(node, (ast.Compare, ast.BoolOp)) else node.test
            if name in names_in(tested):
                return False
    return blind


RULES: tuple[Rule, ...] = (shapes, constants, unread, optional)
