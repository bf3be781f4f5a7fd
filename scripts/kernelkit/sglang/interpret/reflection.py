"""getattr, hasattr, setattr, isinstance, issubclass, type and callable."""

from __future__ import annotations

import ast
from typing import Any

from kernelkit.sglang.interpret import classes, expressions, lookup, natives
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import (
    Bound,
    Choice,
    ClassRef,
    External,
    ExternalObject,
    FileRef,
    FunctionRef,
    Instance,
    Unknown,
    choose,
    options,
)


def get_attribute(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """getattr(owner, name[, default])."""
    values = [expressions.evaluate(m, part, frame) for part in node.args]
    if len(values) < 2 or not isinstance(values[1], str):
        return Unknown("getattr()")
    default = values[2] if len(values) > 2 else Unknown(values[1])
    found = [_get(m, owner, values[1], default, node, frame) for owner in options(values[0])]
    return choose(*found)


def _get(m: Machine, owner: Any, attr: str, default: Any, node: ast.Call, frame: Frame) -> Any:
    present = _has(m, owner, attr)
    if present is False:
        return default
    value = lookup.attribute(m, owner, attr, node, frame)
    return value if present else choose(value, default)


def has_attribute(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """hasattr(owner, name)."""
    values = [expressions.evaluate(m, part, frame) for part in node.args]
    if len(values) != 2 or not isinstance(values[1], str):
        return Unknown(ast.unparse(node))
    found = {_has(m, owner, values[1]) for owner in options(values[0])}
    return found.pop() if len(found) == 1 and None not in found else Unknown(ast.unparse(node))


def _has(m: Machine, owner: Any, attr: str) -> bool | None:
    """Whether an attribute exists; None where that is open."""
    if isinstance(owner, Instance):
        if attr in owner.attrs or (owner.cls and classes.find_member(m, owner.cls, attr)):
            return True
        if owner.fallback is not None:
            return not isinstance(owner.fallback(attr), Unknown)
        return None if _has_foreign_base(m, owner) else False
    if isinstance(owner, ClassRef):
        return True if classes.find_member(m, owner, attr) else None
    if isinstance(owner, FileRef):
        return attr in lookup.run_file(m, owner.file).names
    return False if owner is None else None


def _has_foreign_base(m: Machine, owner: Instance) -> bool:
    """Whether a base outside the tree, other than torch's Module, may have the attribute."""
    if owner.cls is None:
        return True
    bases = [c for c in classes.resolution_order(m, owner.cls) if not isinstance(c, ClassRef)]
    allowed = ("torch.nn.Module", "abc.ABC", "builtins.object", "typing.Generic")
    return any(not (isinstance(b, External) and b.path in allowed) for b in bases)


def set_attribute(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """setattr(owner, name, value)."""
    values = [expressions.evaluate(m, part, frame) for part in node.args]
    if len(values) == 3 and isinstance(values[0], Instance) and isinstance(values[1], str):
        values[0].attrs[values[1]] = values[2]
    return None


def is_instance(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """isinstance(value, classes)."""
    if len(node.args) != 2:
        return Unknown(ast.unparse(node))
    value = expressions.evaluate(m, node.args[0], frame)
    wanted = _classes(expressions.evaluate(m, node.args[1], frame))
    found = {_is(m, one, wanted) for one in options(value)}
    return found.pop() if len(found) == 1 and None not in found else Unknown(ast.unparse(node))


def _classes(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [c for part in value for c in _classes(part)]
    return list(value.options) if isinstance(value, Choice) else [value]


_PYTHON = {"builtins.str": str, "builtins.int": int, "builtins.list": list, "builtins.dict": dict,
           "builtins.tuple": tuple, "builtins.bool": bool, "builtins.float": float}  # fmt: skip


def _is(m: Machine, value: Any, wanted: list[Any]) -> bool | None:
    if isinstance(value, (Unknown, ExternalObject)):
        return None
    names = {id(native): f"builtins.{k}" for k, native in natives.BUILTINS.items()}
    paths = [names.get(id(c)) or getattr(c, "path", "") for c in wanted]
    if not isinstance(value, Instance):
        python = tuple(_PYTHON[p] for p in paths if p in _PYTHON)
        return isinstance(value, python) if python or value is None else False
    if value.cls is None:
        return value.args.get("class") in paths if "class" in value.args else None
    order = classes.resolution_order(m, value.cls)
    if any(c is o for c in wanted for o in order):
        return True
    if any(isinstance(o, External) and o.path in paths for o in order):
        return True
    return None if any(isinstance(c, Unknown) for c in (*wanted, *order)) else False


def is_subclass(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """issubclass(cls, classes)."""
    values = [expressions.evaluate(m, part, frame) for part in node.args]
    if len(values) == 2 and isinstance(values[0], ClassRef):
        return any(c in classes.resolution_order(m, values[0]) for c in _classes(values[1]))
    return Unknown(ast.unparse(node))


def type_of(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """type(value)."""
    value = expressions.evaluate(m, node.args[0], frame) if node.args else None
    return value.cls if isinstance(value, Instance) and value.cls else Unknown("type()")


def is_callable(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """callable(value)."""
    value = expressions.evaluate(m, node.args[0], frame) if node.args else None
    if isinstance(value, (FunctionRef, Bound, ClassRef, External)):
        return True
    return False if value is None else Unknown("callable()")
