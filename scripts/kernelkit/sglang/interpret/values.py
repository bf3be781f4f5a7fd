"""What an expression can be.

Plain Python objects (numbers, strings, None, lists, dicts) stand for themselves. The rest are the
classes below. Unknown is a value that the sources and the config leave open.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelkit.sglang.interpret.files import SourceFile

PLAIN = (bool, int, float, str, bytes, type(None), list, tuple, dict, set, range, slice)


@dataclass(frozen=True)
class Unknown:
    """A value that is left open; `text` is the source expression."""

    text: str = "?"


@dataclass(frozen=True)
class External:
    """A name from a package outside the tree, e.g. `flashinfer.norm.rmsnorm`."""

    path: str


@dataclass(frozen=True)
class ExternalObject:
    """An instance of a class outside the tree, e.g. a FlashInfer wrapper."""

    path: str


@dataclass(frozen=True)
class Lazy:
    """An import that nobody has looked at yet: module `dotted`, and the name within, if any."""

    dotted: str
    name: str | None


@dataclass(eq=False)
class FileRef:
    """A module of the tree."""

    file: SourceFile


@dataclass(eq=False)
class ClassRef:
    """A class of the tree. `scope` is where its body's names are looked up."""

    node: ast.ClassDef
    file: SourceFile
    scope: dict[str, Any]
    members: dict[str, ast.stmt] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    mro: list[Any] | None = None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def dotted(self) -> str:
        return f"{self.file.dotted}.{self.node.name}"


@dataclass(eq=False)
class FunctionRef:
    """A function, method or lambda of the tree, with the scope it closes over."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    file: SourceFile
    closure: tuple[dict[str, Any], ...] = ()
    owner: ClassRef | None = None

    @property
    def name(self) -> str:
        return getattr(self.node, "name", "lambda")

    @property
    def dotted(self) -> str:
        owner = f"{self.owner.name}." if self.owner else ""
        return f"{self.file.dotted}.{owner}{self.name}"


@dataclass(eq=False)
class Bound:
    """A method with its instance (or class)."""

    function: FunctionRef
    receiver: Any


@dataclass(eq=False)
class Partial:
    """functools.partial of something callable."""

    called: Any
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(eq=False)
class Native:
    """A callable that the interpreter answers itself."""

    call: Callable[..., Any]


@dataclass(eq=False)
class Launch:
    """`kernel[grid]` of a Triton kernel of the tree."""

    function: FunctionRef


@dataclass(eq=False)
class Super:
    """`super()`: the classes after `after` in the instance's resolution order."""

    receiver: Any
    after: ClassRef


@dataclass(eq=False)
class Instance:
    """An object of a class of the tree (or a stand-in without one).

    `condition` is what was open when it was built, beyond what was open for its builder; `fallback`
    answers attributes that neither the object nor its class has.
    """

    cls: ClassRef | None
    attrs: dict[str, Any] = field(default_factory=dict)
    args: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    line: int = 0
    condition: str | None = None
    fallback: Callable[[str], Any] | None = None

    @property
    def class_name(self) -> str:
        return self.cls.name if self.cls else "object"


@dataclass(eq=False)
class Choice:
    """One of several values: branches that were left open disagree."""

    options: tuple[Any, ...]
    followed: bool = False  # whether imports among them are known to have been followed


def choose(*values: Any) -> Any:
    """One value if all agree, else a Choice of the different ones (at most 16)."""
    if len(values) == 1:
        return values[0]
    options: list[Any] = []
    for value in values:
        for option in value.options if isinstance(value, Choice) else (value,):
            if not any(same(option, other) for other in options):
                options.append(option)
    return options[0] if len(options) == 1 else Choice(tuple(options[:16]))


def same(left: Any, right: Any) -> bool:
    """Equal as values; plain objects also of one type."""
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return bool(left == right)


def options(value: Any) -> tuple[Any, ...]:
    """The values that `value` can be."""
    return value.options if isinstance(value, Choice) else (value,)


def truth(value: Any) -> bool | None:
    """Whether `value` counts as true; None where that is open."""
    if isinstance(value, Choice):
        found = {truth(option) for option in value.options}
        return found.pop() if len(found) == 1 else None
    if isinstance(value, (Unknown, ExternalObject, External)):
        return None
    if isinstance(value, PLAIN):
        return bool(value)
    return True
