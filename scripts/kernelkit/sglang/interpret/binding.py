"""Arguments: bound to parameters, and what makes two layers the same."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from kernelkit.sglang.interpret import classes, expressions
from kernelkit.sglang.interpret.ends import LEAVES, RAISES
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import (
    Bound,
    ClassRef,
    FunctionRef,
    Instance,
    Unknown,
    choose,
)

# Arguments that name a layer and do not shape it.
NAMING = frozenset({"prefix", "layer_id", "layer_idx", "alt_stream", "config", "quant_config"})


def run_function(
    m: Machine, function: FunctionRef, args: list[Any], kwargs: dict[str, Any], receiver: Any
) -> Any:
    """Bind, run the body, and join what it returns."""
    from kernelkit.sglang.interpret import statements

    names = bind(m, function, args, kwargs, receiver)
    frame = Frame(function.file, (names, *function.closure), _title(function), receiver,
                  function.owner)  # fmt: skip
    if not isinstance(function.node, ast.Lambda):
        if not frame.receiver and function.closure:
            frame.receiver = names.get("self")
        ends = statements.run_block(m, function.node.body, frame)
        if not frame.returned:
            return None
        open_end = [] if ends in (LEAVES, RAISES) else [None]
        return choose(*frame.returned, *open_end)
    return expressions.evaluate(m, function.node.body, frame)


def _title(function: FunctionRef) -> str:
    return f"{function.owner.name}.{function.name}" if function.owner else function.name


def bind(
    m: Machine, function: FunctionRef, args: list[Any], kwargs: dict[str, Any], receiver: Any
) -> dict[str, Any]:
    """Parameter name -> value: given, default, or open."""
    spec = _signature(function.node)
    given = [receiver, *args] if receiver is not None and spec.positional else args
    names = dict(spec.open)
    if spec.defaults:
        frame = Frame(function.file, function.closure or ({},), _title(function))
        names.update((k, expressions.evaluate(m, node, frame)) for k, node in spec.defaults)
    names.update(zip(spec.positional, given, strict=False))
    for name, value in kwargs.items():
        if name in spec.open:
            names[name] = value
    if spec.vararg:
        names[spec.vararg] = tuple(given[len(spec.positional) :])
    if spec.kwarg:
        names[spec.kwarg] = {k: v for k, v in kwargs.items() if k not in spec.open}
    return names


@dataclass(frozen=True)
class _Signature:
    """A function's parameters. open: each that has a name of its own, as an open value."""

    positional: tuple[str, ...]
    open: dict[str, Unknown]
    defaults: tuple[tuple[str, ast.expr], ...]
    vararg: str | None
    kwarg: str | None


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> _Signature:
    """The parameters, kept at the node: they are asked for at every call."""
    made = node.__dict__.get("signature")
    if made is None:
        spec = node.args
        positional = tuple(a.arg for a in (*spec.posonlyargs, *spec.args))
        named = (*positional, *(a.arg for a in spec.kwonlyargs))
        last = positional[len(positional) - len(spec.defaults) :]
        defaults = [*zip(last, spec.defaults, strict=True)]
        only = zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
        defaults += [(a.arg, default) for a, default in only if default]
        made = node.__dict__["signature"] = _Signature(
            positional, {name: Unknown(name) for name in named}, tuple(defaults),
            spec.vararg.arg if spec.vararg else None, spec.kwarg.arg if spec.kwarg else None,
        )  # fmt: skip
    return made


def open_arguments(function: FunctionRef) -> dict[str, Any]:
    """Every parameter but the receiver, open."""
    named = _signature(function.node).open
    return {name: value for name, value in named.items() if name not in ("self", "cls")}


def fill_fields(m: Machine, made: Instance, args: list[Any], kwargs: dict[str, Any]) -> None:
    """The attributes of a dataclass, a pydantic model or a named tuple, from its annotations."""
    assert made.cls is not None
    fields: dict[str, Any] = {}
    for cls in reversed(classes.resolution_order(m, made.cls)):
        for name, statement in cls.members.items() if isinstance(cls, ClassRef) else ():
            if isinstance(statement, ast.AnnAssign):
                has_default = statement.value is not None
                fields[name] = classes.class_member(m, cls, name) if has_default else Unknown(name)
    fields.update(zip(fields, args, strict=False))
    fields.update({k: v for k, v in kwargs.items() if k in fields})
    made.attrs.update(fields)
    if classes.find_member(m, made.cls, "__post_init__"):
        from kernelkit.sglang.interpret import calls

        frame = Frame(made.cls.file, ({},), made.cls.name)
        calls.method(m, made, "__post_init__", [], made.cls.node, frame)


def plain_arguments(
    function: FunctionRef, args: list[Any], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The constructor's arguments that are plain values, without those that only name the layer."""
    positional = _signature(function.node).positional[1:]
    given = {**dict(zip(positional, args, strict=False)), **kwargs}
    return {k: v for k, v in given.items() if k not in NAMING and _plain(v)}


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= 16 and all(isinstance(v, (bool, int, float, str)) for v in value)
    return isinstance(value, (bool, int, float, str))


def sharing_key(
    m: Machine, cls: ClassRef, args: list[Any], kwargs: dict[str, Any], made: Instance
) -> Any:
    """What makes two layers of `layers/` one: class, place, arguments, open condition; or None.

    A layer at another place, or with other sizes, is another layer; its number makes none.
    """
    if "/layers/" not in cls.file.name or not classes.derives(m, cls, "torch.nn.Module"):
        return None
    named = {**{str(i): v for i, v in enumerate(args)}, **kwargs}
    shaped = ((k, _print(v)) for k, v in sorted(named.items()) if k not in ("prefix", "layer_id"))
    return (id(cls.node), made.file, made.line, made.condition, tuple(shaped))


def _print(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(map(_print, value))
    if isinstance(value, Unknown):
        return value.text
    if isinstance(value, Instance):
        return (value.class_name, *sorted((k, str(v)) for k, v in value.args.items()))
    if isinstance(value, Bound):
        return value.function.dotted
    return getattr(value, "path", None) or getattr(value, "dotted", None) or type(value).__name__
