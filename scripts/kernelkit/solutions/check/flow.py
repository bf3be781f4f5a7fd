"""Follow the arguments of `run` through the solution's own functions, statement by statement.

One pass in program order, branches joined, loop bodies once: enough to say which memory is an
input's, which is uninitialised, and what is returned. What happens is told as Events; the rules
read them. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from kernelkit.solutions.check import values
from kernelkit.solutions.check.kernels import stored_parameters
from kernelkit.solutions.check.syntax import (
    Function,
    Module,
    keyword,
    literal,
    method_of,
    positional,
)
from kernelkit.solutions.check.values import UNKNOWN, Value, join, mixed

MAX_DEPTH = 8
_TORCH = ("torch.", "torch.nn.functional.", "torch.linalg.", "torch.special.")


@dataclass(frozen=True)
class Event:
    """Something that happens on the way from the arguments to the result.

    kind   call, write, accumulate, return, unpack, index, global, launch
    name   the operation: a dotted name, a method, or `[]=`
    value  the main operand
    args   all operands by position, `keywords` by name
    """

    kind: str
    module: Module
    node: ast.AST
    name: str = ""
    value: Value = UNKNOWN
    args: tuple[Value, ...] = ()
    keywords: Mapping[str, Value] = field(default_factory=dict)

    @property
    def line(self) -> int:
        """The line in the module's source."""
        return getattr(self.node, "lineno", 1)


@dataclass
class Frame:
    """One call of one function."""

    module: Module
    function: Function
    env: dict[str, Value]
    depth: int
    nested: dict[str, Function] = field(default_factory=dict)
    results: list[Value] = field(default_factory=list)
    declared_global: set[str] = field(default_factory=set)


class Flow:
    """The events of one entry function. `known` are the solution's modules by path."""

    def __init__(self, known: dict[str, Module]) -> None:
        self.known = known
        self.events: list[Event] = []
        self.reached: set[tuple[str, str]] = set()  # (file, function) that run may call
        self.written: set[str] = set()  # tokens of memory that some path has written
        self.settled: set[str] = set()  # tokens that every path has written
        self._skips = 0  # > 0 in a loop body behind a conditional `continue`
        self._active: list[Function] = []

    def enter(
        self, module: Module, function: Function, arguments: dict[str, Value], depth: int = 0
    ) -> Value:
        """Follow a call of `function`; the joined value of its returns."""
        if depth > MAX_DEPTH or function in self._active:
            return mixed(list(arguments.values()), "call")
        self._active.append(function)
        self.reached.add((module.path, function.name))
        frame = Frame(module, function, dict(arguments), depth)
        self._block(frame, function.body)
        self._active.pop()
        if not frame.results:
            return UNKNOWN
        result = frame.results[0]
        for other in frame.results[1:]:
            result = _join_tuples(result, other)
        return result

    def _tell(self, frame: Frame, kind: str, node: ast.AST, name: str = "",
              value: Value = UNKNOWN, args: tuple[Value, ...] = (),
              keywords: Mapping[str, Value] | None = None) -> None:  # fmt: skip
        self.events.append(Event(kind, frame.module, node, name, value, args, keywords or {}))

    # statements

    def _block(self, frame: Frame, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(frame, statement)

    def _statement(self, frame: Frame, node: ast.stmt) -> None:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            self._assign(frame, node)
        elif isinstance(node, ast.AugAssign):
            self._augment(frame, node)
        elif isinstance(node, ast.Return):
            value = self.value(frame, node.value)
            frame.results.append(value)
            if frame.depth == 0:
                self._tell(frame, "return", node, value=value)
        elif isinstance(node, ast.If):
            self._branch(frame, node)
        elif isinstance(node, (ast.For, ast.While)):
            self._loop(frame, node)
        elif isinstance(node, ast.With):
            for item in node.items:
                held = self.value(frame, item.context_expr)
                if item.optional_vars is not None:
                    self._bind(frame, item.optional_vars, held)
            self._block(frame, node.body)
        elif isinstance(node, ast.Try):
            for body in (node.body, *(h.body for h in node.handlers), node.orelse, node.finalbody):
                self._block(frame, body)
        elif isinstance(node, ast.FunctionDef):
            frame.nested[node.name] = node
        elif isinstance(node, ast.Global):
            frame.declared_global.update(node.names)
        elif isinstance(node, ast.Expr):
            self.value(frame, node.value)
        elif isinstance(node, ast.Assert):
            self.value(frame, node.test)

    def _assign(self, frame: Frame, node: ast.Assign | ast.AnnAssign) -> None:
        if node.value is None:
            return
        held = self.value(frame, node.value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            self._bind(frame, target, held)

    def _bind(self, frame: Frame, target: ast.expr, held: Value) -> None:
        if isinstance(target, ast.Name):
            if target.id in frame.declared_global:
                self._tell(frame, "global", target, target.id, held)
            frame.env[target.id] = held
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(frame, target, held)
        elif isinstance(target, ast.Subscript):
            self._store(frame, target, held, "[]=")
        elif isinstance(target, ast.Attribute) and target.attr == "data":
            self._write(frame, target, "data=", self.value(frame, target.value))

    def _unpack(self, frame: Frame, target: ast.Tuple | ast.List, held: Value) -> None:
        if held.made == "shape":
            self._tell(frame, "unpack", target, value=held)
        starred = any(isinstance(item, ast.Starred) for item in target.elts)
        exact = len(held.parts) == len(target.elts) and not starred
        rest = UNKNOWN if held.made == "shape" else held.step("[]", sure=False)
        for number, item in enumerate(target.elts):
            inner = item.value if isinstance(item, ast.Starred) else item
            self._bind(frame, inner, held.parts[number] if exact else rest)

    def _store(self, frame: Frame, target: ast.Subscript, held: Value, name: str) -> None:
        base = target.value
        if isinstance(base, ast.Name) and base.id not in frame.env:
            if base.id in frame.module.globals:
                self._tell(frame, "global", target, base.id, held)
            return
        self.value(frame, target.slice)
        self._write(frame, target, name, self.value(frame, base))

    def _augment(self, frame: Frame, node: ast.AugAssign) -> None:
        added = self.value(frame, node.value)
        if isinstance(node.target, ast.Subscript):
            self._accumulate(frame, node, "[]+=", self.value(frame, node.target.value))
        elif isinstance(node.target, ast.Name):
            held = frame.env.get(node.target.id, UNKNOWN)
            self._accumulate(frame, node, "+=", held)
            data = held.data | added.data
            frame.env[node.target.id] = Value(
                held.alias, held.sure, data, held.dtype, held.made, held.token, held.steps
            )

    def _branch(self, frame: Frame, node: ast.If) -> None:
        self.value(frame, node.test)
        before, skips = dict(frame.env), self._skips
        start = set(self.settled)
        self._block(frame, node.body)
        first, first_env, self.settled = self.settled, frame.env, set(start)
        frame.env = dict(before)
        self._block(frame, node.orelse)
        second = self.settled
        if _leaves(node.body):
            skipped = isinstance(node.body[-1], ast.Continue) and not first - start
            self._skips = skips + skipped
            self.settled = second
        else:
            self.settled = first & second
            for name in {*first_env, *frame.env}:
                one, other = first_env.get(name), frame.env.get(name)
                frame.env[name] = _join_tuples(one, other) if one and other else one or other  # type: ignore[assignment]

    def _loop(self, frame: Frame, node: ast.For | ast.While) -> None:
        skips = self._skips
        if isinstance(node, ast.For):
            held = self.value(frame, node.iter)
            self._bind(frame, node.target, _element(held, node.iter))
        else:
            self.value(frame, node.test)
        self._block(frame, node.body)
        self._skips = skips
        self._block(frame, node.orelse)

    # memory

    def _write(self, frame: Frame, node: ast.AST, name: str, base: Value) -> None:
        self._tell(frame, "write", node, name, base)
        self._mark(base)

    def _mark(self, base: Value) -> None:
        for token in _tokens(base):
            self.written.add(token)
            if not self._skips:
                self.settled.add(token)

    def _accumulate(self, frame: Frame, node: ast.AST, name: str, base: Value) -> None:
        if base.made in ("scalar", "shape", "host", "") and not base.alias and not base.token:
            return
        fresh = bool(_tokens(base)) and not any(t in self.written for t in _tokens(base))
        self._tell(frame, "accumulate" if fresh else "write", node, name, base)
        self._mark(base)

    # expressions

    def value(self, frame: Frame, node: ast.AST | None) -> Value:
        """What is known of an expression; calls and writes in it become events."""
        if node is None:
            return UNKNOWN
        handler = getattr(self, f"_on_{type(node).__name__.lower()}", None)
        if handler is not None:
            return handler(frame, node)
        held = [self.value(frame, child) for child in ast.iter_child_nodes(node)]
        return mixed(held, type(node).__name__.lower())

    def _on_name(self, frame: Frame, node: ast.Name) -> Value:
        if node.id in frame.nested:  # handed to a pool, a thread, map: it may run
            self.enter(frame.module, frame.nested[node.id], frame.env, frame.depth + 1)
        return frame.env.get(node.id, UNKNOWN)

    def _on_constant(self, frame: Frame, node: ast.Constant) -> Value:
        return Value(made="none" if node.value is None else "scalar")

    def _on_lambda(self, frame: Frame, node: ast.Lambda) -> Value:
        return UNKNOWN

    def _on_tuple(self, frame: Frame, node: ast.Tuple) -> Value:
        parts = tuple(self.value(frame, item) for item in node.elts)
        return Value(data=mixed(list(parts), "").data, made="tuple", parts=parts)

    _on_list = _on_tuple

    def _on_dict(self, frame: Frame, node: ast.Dict) -> Value:
        held = [self.value(frame, item) for item in node.values]
        return Value(data=mixed(held, "").data, made="dict")

    def _on_namedexpr(self, frame: Frame, node: ast.NamedExpr) -> Value:
        held = self.value(frame, node.value)
        self._bind(frame, node.target, held)
        return held

    def _on_ifexp(self, frame: Frame, node: ast.IfExp) -> Value:
        self.value(frame, node.test)
        return _join_tuples(self.value(frame, node.body), self.value(frame, node.orelse))

    def _on_boolop(self, frame: Frame, node: ast.BoolOp) -> Value:
        held = [self.value(frame, item) for item in node.values]
        result = held[0]
        for other in held[1:]:
            result = join(result, other)
        return result

    def _on_starred(self, frame: Frame, node: ast.Starred) -> Value:
        return self.value(frame, node.value)

    def _comprehension(self, frame: Frame, node: ast.ListComp | ast.GeneratorExp) -> Value:
        """Element by element over a tuple that is written out, else once."""
        first = node.generators[0]
        held = self.value(frame, first.iter)
        single = len(node.generators) == 1 and not first.ifs
        if held.parts and single:
            parts = []
            for part in held.parts:
                self._bind(frame, first.target, part)
                parts.append(self.value(frame, node.elt))
            return Value(data=mixed(parts, "").data, made="tuple", parts=tuple(parts))
        for generator in node.generators:
            held = self.value(frame, generator.iter)
            self._bind(frame, generator.target, _element(held, generator.iter))
        inner = self.value(frame, node.elt)
        return Value(alias=inner.alias, data=inner.data, made="list")

    _on_listcomp = _on_generatorexp = _on_setcomp = _comprehension

    def _on_attribute(self, frame: Frame, node: ast.Attribute) -> Value:
        base = self.value(frame, node.value)
        if node.attr == "shape":
            return Value(made="shape", alias=base.alias, token=base.token, steps=base.steps)
        if node.attr in values.METADATA:
            return Value(made="metadata", dtype=base.dtype if node.attr == "dtype" else "")
        if node.attr in values.VIEWS:
            return base.step(node.attr)
        return UNKNOWN

    def _on_subscript(self, frame: Frame, node: ast.Subscript) -> Value:
        base = self.value(frame, node.value)
        index = self.value(frame, node.slice)
        if base.made == "shape":
            return Value(made="scalar")
        if base.parts:
            place = literal(node.slice)
            if isinstance(place, int) and -len(base.parts) <= place < len(base.parts):
                return base.parts[place]
        self._tell(frame, "index", node, "[]", base, (index,))
        if _is_view(frame, node.slice):
            return base.step("[]" if _keeps_rows(node.slice) else "[:,]")
        made = base.fresh("gather")
        return Value(data=made.data | index.data, dtype=made.dtype, made="gather", steps=made.steps)

    def _on_call(self, frame: Frame, node: ast.Call) -> Value:
        args = [self.value(frame, item) for item in node.args]
        named = {k.arg or "**": self.value(frame, k.value) for k in node.keywords}
        if isinstance(node.func, ast.Subscript):
            return self._launch(frame, node, args, named)
        dotted = frame.module.dotted(node.func)
        own = self._own(frame, node, dotted)
        if own is not None:
            return self._own_call(frame, own, node, args, named)
        if (method := method_of(node)) and not dotted:
            base = self.value(frame, node.func.value)  # type: ignore[attr-defined]
            return self._operation(frame, node, method, method, base, args, named)
        for prefix in _TORCH:
            name = dotted.removeprefix(prefix)
            if name != dotted and "." not in name:
                base, rest = (args[0], args[1:]) if args else (UNKNOWN, [])
                return self._operation(frame, node, name, dotted, base, rest, named)
        return self._foreign(frame, node, dotted, args, named)

    def _foreign(
        self, frame: Frame, node: ast.Call, dotted: str, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """A builtin, or a function of another package."""
        name = dotted or (node.func.id if isinstance(node.func, ast.Name) else "")
        every = [*args, *named.values()]
        self._tell(frame, "call", node, name, args[0] if args else UNKNOWN, tuple(args), named)
        if name in ("int", "float", "bool", "len", "range", "max", "min", "sum", "abs", "round"):
            return Value(data=frozenset() if name == "len" else mixed(every, "").data, made="host")
        if dotted:  # what a library fills is no longer uninitialised
            for held in every:
                self._mark(held)
        return mixed(every, name)

    def _operation(self, frame: Frame, node: ast.Call, name: str, dotted: str, base: Value,
                   args: list[Value], named: dict[str, Value]) -> Value:  # fmt: skip
        """A method of a tensor, or torch's function of that name."""
        self._tell(frame, "call", node, dotted, base, (base, *args), named)
        if (out := named.get("out")) is not None:
            for part in out.parts or (out,):
                self._write(frame, node, f"{name}(out=)", part)
            return out
        if name.endswith("_") and not name.startswith("_") and name != "requires_grad_":
            act = self._write if name in values.PLAIN_WRITES else self._accumulate
            act(frame, node, name, base)
            return base.step(name)
        asked = _asked_dtype(frame.module, node)
        if asked is None:
            held = [v.dtype for v in (*args, *named.values()) if v.made == "metadata"]
            asked = next((d for d in held if d), None)
        if name in values.EMPTY or name in values.FILLED:
            return self._allocate(node, name, asked or "", base, frame)
        if name in ("cat", "concat", "concatenate", "stack"):
            return Value(data=base.data, made="cat", parts=base.parts, dtype=base.dtype)
        if name in values.HOST_READS and name != "cpu":
            return Value(data=base.data, made="host")
        if _copies(node):
            return base.fresh(name, asked)
        result = values.apply(base, name, asked)
        others = mixed([*args, *named.values()], "").data
        same = result.alias or result.token
        return result if same else Value(data=result.data | others, dtype=result.dtype,
                                         made=name, steps=result.steps)  # fmt: skip

    def _allocate(self, node: ast.Call, name: str, dtype: str, base: Value, frame: Frame) -> Value:
        token = f"{frame.module.path}:{node.lineno}:{node.col_offset}"
        like = base.dtype if name.endswith("_like") or name in ("clone", "new_empty") else ""
        if name not in values.EMPTY:
            keeps = name in ("clone", "copy", "tensor", "as_tensor")
            data = base.data if keeps else frozenset()
            steps = base.steps if keeps else ()
            return Value(made="filled", dtype=dtype or like, data=data, steps=steps)
        return Value(made="empty", dtype=dtype or like, token=token)

    # the solution's own functions

    def _own(self, frame: Frame, node: ast.Call, dotted: str) -> tuple[Module, Function] | None:
        if isinstance(node.func, ast.Name):
            if node.func.id in frame.nested:
                return frame.module, frame.nested[node.func.id]
            if node.func.id in frame.module.functions:
                return frame.module, frame.module.functions[node.func.id]
        return frame.module.resolve(dotted, self.known) if dotted else None

    def _own_call(self, frame: Frame, own: tuple[Module, Function], node: ast.Call,
                  args: list[Value], named: dict[str, Value]) -> Value:  # fmt: skip
        module, function = own
        self._tell(frame, "call", node, f".{function.name}", args[0] if args else UNKNOWN,
                   tuple(args), named)  # fmt: skip
        starred = any(isinstance(item, ast.Starred) for item in node.args)
        bound = {} if starred else dict(zip(positional(function), args, strict=False))
        bound |= {name: held for name, held in named.items() if name != "**"}
        if function.name in frame.nested:
            bound = {**frame.env, **bound}
        return self.enter(module, function, bound, frame.depth + 1)

    def _launch(
        self, frame: Frame, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """kernel[grid](...): what the kernel stores into is written."""
        launched = node.func.value  # type: ignore[attr-defined]
        name = launched.id if isinstance(launched, ast.Name) else ""
        found = frame.module.functions.get(name)
        if found is None and (dotted := frame.module.dotted(launched)):
            own = frame.module.resolve(dotted, self.known)
            found = own[1] if own else None
        self._tell(frame, "launch", node, name, UNKNOWN, tuple(args), named)
        bound = dict(zip(positional(found), args, strict=False)) | named if found else {}
        stored, added = stored_parameters(found) if found else (set(), set())
        for parameter, held in bound.items():
            if parameter in added:
                self._accumulate(frame, node, f"{name}: tl.atomic", held)
            elif parameter in stored:
                self._write(frame, node, f"{name}: tl.store", held)
        if found is None:
            for held in (*args, *named.values()):
                self._mark(held)
        return UNKNOWN


def keyword_is_true(call: ast.Call, name: str) -> bool:
    """Whether `name=True` is written."""
    return literal(keyword(call, name)) is True


def _copies(call: ast.Call) -> bool:
    return keyword_is_true(call, "copy")


def _tokens(base: Value) -> list[str]:
    return [base.token] if base.token else []


def _join_tuples(one: Value, other: Value) -> Value:
    if one.parts and len(one.parts) == len(other.parts):
        parts = tuple(map(_join_tuples, one.parts, other.parts))
        return Value(data=one.data | other.data, made="tuple", parts=parts)
    if one.made == "none" or other.made == "none":
        return other if one.made == "none" else one
    return join(one, other)


def _leaves(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def _element(held: Value, source: ast.AST) -> Value:
    """What a loop over `held` gives: numbers for range and enumerate, else slices."""
    if held.made in ("host", "shape") or isinstance(source, ast.Call):
        return Value(data=held.data, made="host")
    return held.parts[0] if held.parts else held.step("[]")


def _asked_dtype(module: Module, call: ast.Call) -> str | None:
    """The element type that a call names: torch.float32 as an argument."""
    for item in (*call.args, *(k.value for k in call.keywords)):
        name = module.dotted(item).removeprefix("torch.") if isinstance(item, ast.Attribute) else ""
        if name in values.DTYPES:
            return name
    return None


def _is_view(frame: Frame, index: ast.AST) -> bool:
    """Whether an index takes a view: numbers, slices, None, and loop counters."""
    items = index.elts if isinstance(index, ast.Tuple) else [index]
    return all(_is_plain_index(frame, item) for item in items)


def _is_plain_index(frame: Frame, item: ast.AST) -> bool:
    if isinstance(item, (ast.Slice, ast.Constant, ast.UnaryOp)):
        return True
    if isinstance(item, ast.Name):
        return frame.env.get(item.id, UNKNOWN).made in ("host", "scalar", "slice")
    if isinstance(item, ast.BinOp):
        return _is_plain_index(frame, item.left) and _is_plain_index(frame, item.right)
    return False


def _keeps_rows(index: ast.AST) -> bool:
    """Whether only leading axes are cut, so that rows still follow each other."""
    return not isinstance(index, ast.Tuple)
