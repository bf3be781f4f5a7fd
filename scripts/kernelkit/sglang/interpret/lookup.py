"""What a name or an attribute stands for: scopes, imports, classes, instances."""

from __future__ import annotations

import ast
import builtins
import re
from typing import Any

from kernelkit.sglang.interpret import binding, calls, natives
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

_ENUMS = ("enum.Enum", "enum.IntEnum", "enum.StrEnum", "enum.Flag", "enum.IntFlag")


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
    return any(isinstance(n, ast.Global) and identifier in n.names for n in ast.walk(node))


def forced(m: Machine, scope: dict[str, Any], identifier: str) -> Any:
    """The value of a name; an import is followed on first use."""
    value = scope[identifier]
    if isinstance(value, Lazy):
        value = scope[identifier] = imported(m, value)
    elif isinstance(value, Choice) and any(isinstance(o, Lazy) for o in value.options):
        value = choose(*(imported(m, o) if isinstance(o, Lazy) else o for o in value.options))
        scope[identifier] = value
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
    if isinstance(owner, Choice):
        owners = [o for o in owner.options if o is not None]
        return choose(*(attribute(m, o, attr, node, frame) for o in owners or owner.options))
    if isinstance(owner, Instance):
        return _of_instance(m, owner, attr, node, frame)
    if isinstance(owner, (External, ExternalObject)):
        known = m.on_attribute.get(attr)
        return known() if known else External(f"{owner.path}.{attr}")
    if isinstance(owner, FileRef):
        return member_of_file(m, owner.file, attr)
    if isinstance(owner, ClassRef):
        return class_attribute(m, owner, attr)
    if isinstance(owner, Super):
        return _of_super(m, owner, attr)
    if isinstance(owner, (Unknown, FunctionRef, Bound)):
        return _of_open(m, owner, attr)
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
    found = find_member(m, owner.cls, attr) if owner.cls else None
    if found is not None:
        cls, statement = found
        if isinstance(statement, ast.FunctionDef) and is_property(statement):
            getter = FunctionRef(statement, cls.file, _closure(cls), cls)
            return calls.call_function(m, getter, [], {}, owner, node, frame)
        return bind_member(m, cls, attr, statement, owner)
    if owner.fallback is not None:
        return owner.fallback(attr)
    return m.on_attribute[attr]() if attr in m.on_attribute else Unknown(f"self.{attr}")


def _of_super(m: Machine, owner: Super, attr: str) -> Any:
    receiver = owner.receiver
    start = receiver.cls if isinstance(receiver, Instance) else receiver
    if not isinstance(start, ClassRef):
        return Unknown(f"super().{attr}")
    order = resolution_order(m, start)
    after = order[order.index(owner.after) + 1 :] if owner.after in order else order[1:]
    for cls in after:
        if isinstance(cls, ClassRef) and attr in cls.members:
            return bind_member(m, cls, attr, cls.members[attr], receiver)
    return natives.NOTHING


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
        return forced(m, cls.values, attr)
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        function = FunctionRef(statement, cls.file, _closure(cls), cls)
        words = decorators(statement)
        if "staticmethod" in words:
            return function
        if "classmethod" in words:
            at = receiver.cls if isinstance(receiver, Instance) else receiver
            return Bound(function, at)
        return Bound(function, receiver) if isinstance(receiver, Instance) else function
    return class_member(m, cls, attr)


def _closure(cls: ClassRef) -> tuple[dict[str, Any], ...]:
    return () if cls.scope is cls.file.names else (cls.scope,)


def class_member(m: Machine, cls: ClassRef, attr: str) -> Any:
    """The value of a class variable; of an enumeration, the member object."""
    if attr in cls.values:
        return forced(m, cls.values, attr)
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
