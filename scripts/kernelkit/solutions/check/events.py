"""What is told of a run: events, the frames of calls, and small questions about the syntax."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from kernelkit.solutions.check import values
from kernelkit.solutions.check.syntax import Function, Module, keyword, literal
from kernelkit.solutions.check.values import UNKNOWN, Value, join


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


class Recorder(ABC):
    """The events of one entry function, and which memory has been written so far.

    `known` are the solution's modules by path.
    """

    def __init__(self, known: dict[str, Module]) -> None:
        self.known = known
        self.events: list[Event] = []
        self.reached: set[tuple[str, str]] = set()  # (file, function) that run may call
        self.written: set[str] = set()  # tokens of memory that some path has written
        self.settled: set[str] = set()  # tokens that every path has written
        self.skips = 0  # > 0 in a loop body behind a conditional `continue`
        self._active: list[Function] = []

    @abstractmethod
    def enter(
        self, module: Module, function: Function, arguments: dict[str, Value], depth: int = 0
    ) -> Value:
        """Follow a call of `function`; the joined value of its returns."""

    @abstractmethod
    def value(self, frame: Frame, node: ast.AST | None) -> Value:
        """What is known of an expression; calls and writes in it become events."""

    @abstractmethod
    def bind(self, frame: Frame, target: ast.expr, held: Value) -> None:
        """Give a target of an assignment its value."""

    def tell(self, frame: Frame, kind: str, node: ast.AST, name: str = "",
              value: Value = UNKNOWN, args: tuple[Value, ...] = (),
              keywords: Mapping[str, Value] | None = None) -> None:  # fmt: skip
        """Tell an event."""
        self.events.append(Event(kind, frame.module, node, name, value, args, keywords or {}))

    def write(self, frame: Frame, node: ast.AST, name: str, base: Value) -> None:
        """Something is stored into `base`."""
        self.tell(frame, "write", node, name, base)
        self.mark(base)

    def mark(self, base: Value) -> None:
        """`base` holds something from here on: on every path, outside skipped loop bodies."""
        for token in tokens(base):
            self.written.add(token)
            if not self.skips:
                self.settled.add(token)

    def accumulate(self, frame: Frame, node: ast.AST, name: str, base: Value) -> None:
        """Something is added to what `base` holds; an event of its own where that is nothing."""
        if base.made in ("scalar", "shape", "host", "") and not base.alias and not base.token:
            return
        fresh = bool(tokens(base)) and not any(t in self.written for t in tokens(base))
        self.tell(frame, "accumulate" if fresh else "write", node, name, base)
        self.mark(base)


def copies(call: ast.Call) -> bool:
    """Whether a conversion says copy=True."""
    return literal(keyword(call, "copy")) is True


def tokens(base: Value) -> list[str]:
    """The memory of the solution's own that a value lies in."""
    return [base.token] if base.token else []


def join_tuples(one: Value, other: Value) -> Value:
    """`join`, element by element for tuples of one length; None says nothing."""
    if one.parts and len(one.parts) == len(other.parts):
        parts = tuple(map(join_tuples, one.parts, other.parts))
        return Value(data=one.data | other.data, made="tuple", parts=parts)
    if one.made == "none" or other.made == "none":
        return other if one.made == "none" else one
    return join(one, other)


def leaves(body: list[ast.stmt]) -> bool:
    """Whether a block ends in return, raise, continue or break."""
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def element(held: Value, source: ast.AST) -> Value:
    """What a loop over `held` gives: numbers for range and enumerate, else slices."""
    if held.made in ("host", "shape") or isinstance(source, ast.Call):
        return Value(data=held.data, made="host")
    return held.parts[0] if held.parts else held.step("[]")


def asked_dtype(module: Module, call: ast.Call) -> str | None:
    """The element type that a call names: torch.float32 as an argument."""
    for item in (*call.args, *(k.value for k in call.keywords)):
        name = module.dotted(item).removeprefix("torch.") if isinstance(item, ast.Attribute) else ""
        if name in values.DTYPES:
            return name
    return None


def is_view(frame: Frame, index: ast.AST) -> bool:
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


def keeps_rows(index: ast.AST) -> bool:
    """Whether only leading axes are cut, so that rows still follow each other."""
    return not isinstance(index, ast.Tuple)
