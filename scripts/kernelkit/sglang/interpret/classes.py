"""Classes: order of resolution, members, enumerations, decorators."""

from __future__ import annotations

import ast
import re
from typing import Any

from kernelkit.sglang.interpret import lookup
from kernelkit.sglang.interpret.files import SourceFile
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import (
    Bound,
    ClassRef,
    External,
    FunctionRef,
    Instance,
    Unknown,
)

_ENUMS = ("enum.Enum", "enum.IntEnum", "enum.StrEnum", "enum.Flag", "enum.IntFlag")


def class_ref(node: ast.ClassDef, file: SourceFile, scope: dict[str, Any]) -> ClassRef:
    """A class with the statements that define its members (the last definition wins)."""
    made = ClassRef(node, file, scope)
    _collect(node.body, made.members)
    return made


def _collect(body: list[ast.stmt], members: dict[str, ast.stmt]) -> None:
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            members[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    members[target.id] = statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            members[statement.target.id] = statement
        elif isinstance(statement, (ast.If, ast.Try)):
            _collect(statement.body, members)


def resolution_order(m: Machine, cls: ClassRef) -> list[Any]:
    """The class and its bases, each once, a base after all classes that derive from it."""
    if cls.mro is None:
        cls.mro = [cls]  # stops a class that (wrongly) derives from itself
        frame = Frame(cls.file, (cls.scope,))
        found: list[Any] = [cls]
        for base in cls.node.bases:
            value = _base(m, base, frame)
            found += resolution_order(m, value) if isinstance(value, ClassRef) else [value]
        cls.mro = [c for i, c in enumerate(found) if c not in found[i + 1 :]]
    return cls.mro


def _base(m: Machine, node: ast.expr, frame: Frame) -> Any:
    from kernelkit.sglang.interpret.expressions import evaluate

    return evaluate(m, node.value if isinstance(node, ast.Subscript) else node, frame)


def find_member(m: Machine, cls: ClassRef, attr: str) -> tuple[ClassRef, ast.stmt] | None:
    """The first class in resolution order that defines `attr`, and the statement."""
    for one in resolution_order(m, cls):
        if isinstance(one, ClassRef) and (attr in one.members or attr in one.values):
            return one, one.members.get(attr) or ast.Pass()
    return None


def derives(m: Machine, cls: ClassRef, *paths: str) -> bool:
    """Whether a class outside the tree (by dotted path) is among the bases."""
    return any(isinstance(c, External) and c.path in paths for c in resolution_order(m, cls))


def is_enum(m: Machine, cls: ClassRef) -> bool:
    """Whether the class is an enumeration."""
    return derives(m, cls, *_ENUMS)


def class_attribute(m: Machine, cls: ClassRef, attr: str) -> Any:
    """`Class.attr`."""
    if attr == "__name__":
        return cls.name
    found = find_member(m, cls, attr)
    if found is None:
        return Unknown(f"{cls.name}.{attr}")
    if is_enum(m, cls) and isinstance(found[1], ast.Assign):
        return class_member(m, found[0], attr)
    return bind_member(m, found[0], attr, found[1], cls)


def bind_member(m: Machine, cls: ClassRef, attr: str, statement: ast.stmt, receiver: Any) -> Any:
    """A member as `receiver` (an instance, or the class itself) sees it."""
    if attr in cls.values:
        return lookup.forced(m, cls.values, attr)
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        function = FunctionRef(statement, cls.file, closure(cls), cls)
        words = decorators(statement)
        if "staticmethod" in words:
            return function
        if "classmethod" in words:
            at = receiver.cls if isinstance(receiver, Instance) else receiver
            return Bound(function, at)
        return Bound(function, receiver) if isinstance(receiver, Instance) else function
    return class_member(m, cls, attr)


def closure(cls: ClassRef) -> tuple[dict[str, Any], ...]:
    """The scopes that the class's methods see besides their file's."""
    return () if cls.scope is cls.file.names else (cls.scope,)


def class_member(m: Machine, cls: ClassRef, attr: str) -> Any:
    """The value of a class variable; of an enumeration, the member object."""
    if attr in cls.values:
        return lookup.forced(m, cls.values, attr)
    from kernelkit.sglang.interpret.expressions import evaluate

    statement = cls.members.get(attr)
    frame = Frame(cls.file, (cls.values, cls.scope), cls.name, None, cls)
    if isinstance(statement, ast.ClassDef):
        value: Any = class_ref(statement, cls.file, cls.scope)
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
        value = evaluate(m, statement.value, frame)
    else:
        return Unknown(f"{cls.name}.{attr}")
    if isinstance(statement, ast.Assign) and is_enum(m, cls):
        value = Instance(cls, {"name": attr, "value": value, "_value_": value})
    cls.values[attr] = value
    return value


def enum_members(m: Machine, cls: ClassRef) -> list[Any]:
    """The members of an enumeration."""
    wanted = [k for k, s in cls.members.items() if isinstance(s, ast.Assign) and k[:1] != "_"]
    return [class_member(m, cls, k) for k in wanted]


def enum_member(m: Machine, cls: ClassRef, args: list[Any]) -> Any:
    """The member that a call of the enumeration gives: by value, or itself."""
    for member in enum_members(m, cls):
        if args and isinstance(member, Instance):
            if member is args[0] or member.attrs["value"] == args[0]:
                return member
    return Unknown(f"{cls.name}()")


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The last words of the decorators' names."""
    found = set()
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        found.add(ast.unparse(called).rsplit(".", 1)[-1])
    return found


def is_property(node: ast.FunctionDef) -> bool:
    """Whether reading the attribute calls the function."""
    return bool(decorators(node) & {"property", "cached_property", "classproperty"})


def is_triton(function: FunctionRef) -> bool:
    """Whether the function is a Triton kernel (also under @triton.autotune and the like)."""
    return any(re.search(r"(triton|gluon)\.jit|^jit$", text) for text in _decorator_texts(function))


def kernel_language(function: FunctionRef) -> str | None:
    """The language of a function that is compiled for the GPU and not run by Python."""
    for text in _decorator_texts(function):
        for pattern, language in _LANGUAGES:
            if re.search(pattern, text):
                return language
    return None


_LANGUAGES = ((r"cute\.(jit|kernel)", "cutedsl"), (r"tilelang\.(jit|lazy_jit)", "tilelang"))


def _decorator_texts(function: FunctionRef) -> list[str]:
    """The decorators' source, kept at the node: this is asked for every call."""
    node = function.node
    texts = node.__dict__.get("decorator_texts")
    if texts is None:
        texts = [ast.unparse(d) for d in getattr(node, "decorator_list", ())]
        node.__dict__["decorator_texts"] = texts
    return texts
