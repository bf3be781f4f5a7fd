"""What a name or an attribute stands for: scopes, imports, instances."""

from __future__ import annotations

import ast
import builtins
from typing import Any

from kernelkit import lazily
from kernelkit.sglang.interpret import binding, calls, classes, natives
from kernelkit.sglang.interpret.files import SourceFile
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
    Lazy,
    Native,
    Super,
    Unknown,
    choose,
)


def name(m: Machine, identifier: str, frame: Frame) -> Any:
    """A name as `frame` sees it."""
    for scope in frame.scopes:
        if identifier in scope:
            return forced(m, scope, identifier)
    names = run_file(m, frame.file).names
    if identifier in names:
        value = forced(m, names, identifier)
        return _set_later(m, frame.file, identifier) if value is None else value
    if identifier in natives.BUILTINS:
        return natives.BUILTINS[identifier]
    if hasattr(builtins, identifier):
        return External(f"builtins.{identifier}")
    return Unknown(identifier)


def _set_later(m: Machine, file: SourceFile, identifier: str) -> Any:
    """A module's variable that starts as None: what the functions that declare it global set."""
    if not m.may_set(file.name) or (file.dotted, identifier) in m.settled:
        return file.names[identifier]
    m.settled.add((file.dotted, identifier))
    outer = (m.conditions, m.chain, m.tracing, m.bases, m.active)
    m.conditions, m.chain, m.tracing, m.bases, m.active = [], [], False, [0], []
    for node in file.parsed.body:
        if isinstance(node, ast.FunctionDef) and _declares(node, identifier):
            binding.run_function(m, FunctionRef(node, file), [], {}, None)
    m.conditions, m.chain, m.tracing, m.bases, m.active = outer
    return file.names[identifier]


def _declares(node: ast.FunctionDef, identifier: str) -> bool:
    if not lazily.mentions(node, "global "):
        return False
    return any(isinstance(n, ast.Global) and identifier in n.names for n in ast.walk(node))


def forced(m: Machine, scope: dict[str, Any], identifier: str) -> Any:
    """The value of a name; an import is followed on first use."""
    value = scope[identifier]
    kind = type(value)  # the hottest lines of all: no isinstance, no generator
    if kind is Lazy:
        value = scope[identifier] = imported(m, value)
    elif kind is Choice and not value.followed:
        value = choose(*(imported(m, o) if isinstance(o, Lazy) else o for o in value.options))
        scope[identifier] = value
        if isinstance(value, Choice):
            value.followed = True
    return value


def run_file(m: Machine, file: SourceFile) -> SourceFile:
    """Run a module's body once, outside of whatever is being traced."""
    if not file.ran:
        from kernelkit.sglang.interpret.statements import run_block

        file.ran = True
        outer = (m.conditions, m.chain, m.tracing, m.bases)
        m.conditions, m.chain, m.tracing, m.bases = [], [], False, [0]
        run_block(m, file.parsed.body, Frame(file, (file.names,)))
        m.conditions, m.chain, m.tracing, m.bases = outer
    return file


def run_import(m: Machine, node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
    """Bind the names of an import statement, without following them yet."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.split(".")[0]
            frame.names[alias.asname or top] = Lazy(alias.name if alias.asname else top, None)
        return
    package = _absolute(node, frame.file)
    for alias in node.names:
        if alias.name != "*":
            frame.names[alias.asname or alias.name] = Lazy(package, alias.name)
            continue
        file = m.files.find(package)
        if file is not None:
            names = run_file(m, file).names
            frame.names.update({k: Lazy(package, k) for k in names if not k.startswith("_")})


def _absolute(node: ast.ImportFrom, file: SourceFile) -> str:
    if not node.level:
        return node.module or ""
    parts = file.package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def imported(m: Machine, lazy: Lazy) -> Any:
    """What an import stands for. A function with a known answer is not read."""
    known = m.known.get(lazy.name) if lazy.name else None
    if known is not None and m.files.holds(lazy.dotted):
        return Native(known)
    if m.unread(lazy.dotted.replace(".", "/")):
        return Unknown(lazy.name or lazy.dotted)
    file = m.files.find(lazy.dotted)
    if file is None:
        path = lazy.dotted if lazy.name is None else f"{lazy.dotted}.{lazy.name}"
        if path in ("typing.TYPE_CHECKING", "typing_extensions.TYPE_CHECKING"):
            return False
        return Unknown(lazy.name or lazy.dotted) if m.files.holds(path) else External(path)
    if lazy.name is None:
        return FileRef(file)
    if lazy in m.following:  # modules that import a name from one another
        return Unknown(lazy.name)
    m.following.add(lazy)
    try:
        return member_of_file(m, file, lazy.name)
    finally:
        m.following.discard(lazy)


def member_of_file(m: Machine, file: SourceFile, attr: str) -> Any:
    """A name of a module, or a submodule of a package."""
    names = run_file(m, file).names
    if attr in names:
        value = names[attr]
        if isinstance(value, Lazy) and (value.dotted, value.name) == (file.dotted, attr):
            return Unknown(attr)
        return forced(m, names, attr)
    inner = m.files.find(f"{file.dotted}.{attr}")
    if inner is not None:
        return FileRef(inner)
    if "__getattr__" in names:
        return Unknown(f"{file.dotted}.{attr}")
    return Unknown(attr)


def attribute(m: Machine, owner: Any, attr: str, node: ast.AST, frame: Frame) -> Any:
    """`owner.attr`."""
    if isinstance(owner, Instance):
        return _of_instance(m, owner, attr, node, frame)
    if isinstance(owner, (Unknown, FunctionRef, Bound)):
        return _of_open(m, owner, attr)
    if isinstance(owner, Choice):
        owners = [o for o in owner.options if o is not None]
        return choose(*(attribute(m, o, attr, node, frame) for o in owners or owner.options))
    if isinstance(owner, (External, ExternalObject)):
        known = m.on_attribute.get(attr)
        return known() if known else External(f"{owner.path}.{attr}")
    if isinstance(owner, FileRef):
        return member_of_file(m, owner.file, attr)
    if isinstance(owner, ClassRef):
        return classes.class_attribute(m, owner, attr)
    if isinstance(owner, Super):
        return _of_super(m, owner, attr)
    return natives.method_of(owner, attr)


def _of_open(m: Machine, owner: Any, attr: str) -> Any:
    if attr in m.on_attribute:
        return m.on_attribute[attr]()
    if not isinstance(owner, Unknown):
        return Unknown(attr)
    found = m.on_open(owner.text, attr)
    return Unknown(f"{owner.text}.{attr}") if found is natives.NOTHING else found


def _of_instance(m: Machine, owner: Instance, attr: str, node: ast.AST, frame: Frame) -> Any:
    if attr in owner.attrs:
        return forced(m, owner.attrs, attr)
    if attr == "__class__" and owner.cls:
        return owner.cls
    found = classes.find_member(m, owner.cls, attr) if owner.cls else None
    if found is not None:
        cls, statement = found
        if isinstance(statement, ast.FunctionDef) and classes.is_property(statement):
            getter = FunctionRef(statement, cls.file, classes.closure(cls), cls)
            return calls.call_function(m, getter, [], {}, owner, node, frame)
        return classes.bind_member(m, cls, attr, statement, owner)
    if owner.fallback is not None:
        return owner.fallback(attr)
    return m.on_attribute[attr]() if attr in m.on_attribute else Unknown(f"self.{attr}")


def _of_super(m: Machine, owner: Super, attr: str) -> Any:
    receiver = owner.receiver
    start = receiver.cls if isinstance(receiver, Instance) else receiver
    if not isinstance(start, ClassRef):
        return Unknown(f"super().{attr}")
    order = classes.resolution_order(m, start)
    after = order[order.index(owner.after) + 1 :] if owner.after in order else order[1:]
    for cls in after:
        if isinstance(cls, ClassRef) and attr in cls.members:
            return classes.bind_member(m, cls, attr, cls.members[attr], receiver)
    return natives.NOTHING
