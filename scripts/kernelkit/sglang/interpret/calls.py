"""Calls: functions, methods, classes, and what lies outside the tree."""

from __future__ import annotations

import ast
from typing import Any

from kernelkit.sglang.interpret import (
    binding,
    classes,
    expressions,
    lookup,
    memo,
    natives,
    reflection,
)
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import (
    Bound,
    Choice,
    ClassRef,
    External,
    ExternalObject,
    FunctionRef,
    Instance,
    Launch,
    Lazy,
    Native,
    Partial,
    Super,
    Unknown,
    choose,
)


def run_call(m: Machine, node: ast.Call, frame: Frame) -> Any:
    """Evaluate a call expression."""
    if isinstance(node.func, ast.Name):
        special = _SPECIAL.get(node.func.id)
        if special is not None:
            found = special(m, node, frame)
            if found is not natives.NOTHING:
                return found
    called = expressions.evaluate(m, node.func, frame)
    args, kwargs = _arguments(m, node, frame)
    return call(m, called, args, kwargs, node, frame)


def _arguments(m: Machine, node: ast.Call, frame: Frame) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    for part in node.args:
        if isinstance(part, ast.Starred):
            spread = expressions.evaluate(m, part.value, frame)
            args += spread if isinstance(spread, (list, tuple)) else []
        else:
            args.append(expressions.evaluate(m, part, frame))
    kwargs: dict[str, Any] = {}
    for keyword in node.keywords:
        value = expressions.evaluate(m, keyword.value, frame)
        if keyword.arg is not None:
            kwargs[keyword.arg] = value
        elif isinstance(value, dict):
            kwargs.update({k: v for k, v in value.items() if isinstance(k, str)})
    return args, kwargs


def call(
    m: Machine, called: Any, args: list[Any], kwargs: dict[str, Any], node: ast.AST, frame: Frame
) -> Any:
    """Call a value."""
    if isinstance(called, Choice):
        return _call_each(m, called, args, kwargs, node, frame)
    if isinstance(called, FunctionRef):
        return call_function(m, called, args, kwargs, None, node, frame)
    if isinstance(called, Bound):
        return call_function(m, called.function, args, kwargs, called.receiver, node, frame)
    if isinstance(called, ClassRef):
        return instantiate(m, called, args, kwargs, node, frame)
    if isinstance(called, Instance):
        return _call_instance(m, called, args, kwargs, node, frame)
    if isinstance(called, Native):
        return _call_native(m, called, args, kwargs)
    if isinstance(called, External):
        return _call_external(m, called.path, args, kwargs, node, frame)
    if isinstance(called, Partial):
        given = {**called.kwargs, **kwargs}
        return call(m, called.called, [*called.args, *args], given, node, frame)
    if isinstance(called, Launch):
        m.record("triton", called.function.dotted, frame, node)
        return None
    if isinstance(called, ExternalObject):
        m.record("external", called.path, frame, node)
    return Unknown(f"{called.text}()" if isinstance(called, Unknown) else "()")


def _call_each(
    m: Machine, called: Choice, args: list[Any], kwargs: dict[str, Any], node: ast.AST, frame: Frame
) -> Any:
    """Call every option under the condition that it is the one."""
    ones = [o for o in called.options if not isinstance(o, (Unknown, type(None)))]
    found = []
    owners = {id(o.receiver if isinstance(o, Bound) else o) for o in ones}
    for one in ones:
        text = _why(one, node) if len(owners) > 1 else None
        noted = [text] if text and text not in m.conditions else []
        before = _held(one) if m.tracing else []
        outer, m.memo = m.memo, dict(m.memo)
        m.conditions += noted
        found.append(call(m, one, args, kwargs, node, frame))
        del m.conditions[len(m.conditions) - len(noted) :]
        for attrs, values in before:  # what one option sets is not there for the next
            attrs.clear()
            attrs.update(values)
        m.memo = outer
    if len(found) < len([o for o in called.options if o is not None]):
        found.append(Unknown("()"))
    return choose(*found) if found else Unknown("()")


def _held(one: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The attributes of a method's object and of the objects it holds, with a copy of each."""
    owner = one.receiver if isinstance(one, Bound) else None
    if not isinstance(owner, Instance):
        return []
    held = [owner, *(v for v in owner.attrs.values() if isinstance(v, Instance))]
    return [(o.attrs, dict(o.attrs)) for o in held]


def _why(one: Any, node: ast.AST) -> str | None:
    """When an option is the one that is called: what was open when its object was built."""
    owner = one.receiver if isinstance(one, Bound) else one
    if isinstance(owner, Instance) and owner.condition:
        return owner.condition
    written = getattr(node, "func", None)
    if written is None:
        return None
    if isinstance(owner, (ClassRef, FunctionRef)):
        return f"{ast.unparse(written)} is {owner.name}"
    if isinstance(owner, Instance) and isinstance(written, ast.Attribute):
        return f"{ast.unparse(written.value)} is a {owner.class_name}"
    return None


def _call_native(m: Machine, called: Native, args: list[Any], kwargs: dict[str, Any]) -> Any:
    try:
        found = called.call(*args, **kwargs)
    except TypeError:
        return Unknown("()")
    return lookup.imported(m, found) if isinstance(found, Lazy) else found


def _call_instance(
    m: Machine, on: Instance, args: list[Any], kwargs: dict[str, Any], node: ast.AST, frame: Frame
) -> Any:
    """A module's call is its forward; one that is traced on its own is not entered."""
    if m.tracing and on is not m.root and m.opaque(on):
        return Unknown(f"{on.class_name}()")
    for attr in ("__call__", "forward"):
        if on.cls and classes.find_member(m, on.cls, attr):
            return call(m, lookup.attribute(m, on, attr, node, frame), args, kwargs, node, frame)
    return Unknown(f"{on.class_name}()")


def method(
    m: Machine, on: Instance, name: str, args: list[Any], node: ast.AST, frame: Frame
) -> Any:
    """Call a method if the class has it."""
    if on.cls is None or classes.find_member(m, on.cls, name) is None:
        return Unknown(f"{on.class_name}.{name}")
    return call(m, lookup.attribute(m, on, name, node, frame), args, {}, node, frame)


def _call_external(
    m: Machine, path: str, args: list[Any], kwargs: dict[str, Any], node: ast.AST, frame: Frame
) -> Any:
    if path == "functools.partial" and args:
        return Partial(args[0], args[1:], kwargs)
    found = natives.external_value(path, args, kwargs)
    if found is not natives.NOTHING:
        return found
    if natives.is_class_like(path):
        made = ExternalObject(path)
        if natives.is_module_class(path):
            return Instance(None, {}, {"class": path, **_sizes(args, kwargs)},
                            frame.file.name, node.lineno, m.open_here())  # fmt: skip
        return made
    m.record("external", path, frame, node)
    return Unknown(f"{path}()")


def _sizes(args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The plain arguments of one of torch's own layers."""
    named = {f"arg{i}": value for i, value in enumerate(args)}
    return {k: v for k, v in {**named, **kwargs}.items() if isinstance(v, (int, float, str))}


def call_function(
    m: Machine, function: FunctionRef, args: list[Any], kwargs: dict[str, Any],
    receiver: Any, node: ast.AST, frame: Frame,
) -> Any:  # fmt: skip
    """Run a function of the tree; a known one is answered without reading it."""
    known = m.known.get(function.name)
    if known is not None:
        return _call_native(m, Native(known), args, kwargs)
    if classes.is_triton(function):
        return Unknown(function.name)
    language = classes.kernel_language(function)
    if language is not None:
        m.record(language, function.dotted, frame, node)
        return Unknown(function.name)
    if _belongs_elsewhere(m, function, receiver) or m.too_deep(function, receiver):
        return Unknown(f"{function.name}()")
    site = m.site(frame, node)
    key = memo.key(m, function, args, kwargs, receiver)
    earlier = memo.held(m, key)
    if earlier is not None:
        result, events, conditions, chain = earlier
        m.replay(events, conditions, chain, site)
        return result
    first = len(m.events)
    m.chain.append(site)
    m.active.append((function.node, receiver))
    try:
        result = binding.run_function(m, function, args, kwargs, receiver)
    finally:
        m.active.pop()
        m.chain.pop()
    memo.keep(m, key, result, m.events[first:], len(m.conditions), len(m.chain) + 1)
    return result


def _belongs_elsewhere(m: Machine, function: FunctionRef, receiver: Any) -> bool:
    """Whether the call is another layer's forward, which is traced as that layer's."""
    if not m.tracing or receiver is m.root or not isinstance(receiver, Instance):
        return False
    return function.name.startswith("forward") and m.opaque(receiver)


def instantiate(
    m: Machine, cls: ClassRef, args: list[Any], kwargs: dict[str, Any], node: ast.AST, frame: Frame
) -> Any:
    """Build an object of a class of the tree by running its __init__."""
    if classes.is_enum(m, cls):
        return classes.enum_member(m, cls, args)
    made = Instance(cls, file=frame.file.name, line=getattr(node, "lineno", 0))
    made.condition = m.open_here()
    key = binding.sharing_key(m, cls, args, kwargs, made)
    if key is not None and key in m.instances:
        return m.instances[key]
    if key is not None:
        m.instances[key] = made
    m.bases.append(len(m.conditions))
    found = classes.find_member(m, cls, "__init__")
    if found is None:
        binding.fill_fields(m, made, args, kwargs)
    else:
        init = classes.bind_member(m, found[0], "__init__", found[1], made)
        if isinstance(init, Bound):
            made.args = binding.plain_arguments(init.function, args, kwargs)
            call_function(m, init.function, args, kwargs, made, node, frame)
    m.bases.pop()
    return made


def _super(m: Machine, node: ast.Call, frame: Frame) -> Any:
    if frame.receiver is None or frame.owner is None:
        return Unknown("super()")
    return Super(frame.receiver, frame.owner)


_SPECIAL = {
    "super": _super,
    "getattr": reflection.get_attribute,
    "hasattr": reflection.has_attribute,
    "setattr": reflection.set_attribute,
    "isinstance": reflection.is_instance,
    "issubclass": reflection.is_subclass,
    "type": reflection.type_of,
    "callable": reflection.is_callable,
}
