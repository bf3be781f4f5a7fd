"""The interpreter's state: where it stands, what is open there, and what calls it has seen."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from kernelkit.sglang.interpret.files import Files, SourceFile
from kernelkit.sglang.interpret.natives import NOTHING
from kernelkit.sglang.interpret.values import ClassRef, FunctionRef, Instance, Lazy

MAX_DEPTH = 40  # calls within calls; the deepest real chain (a hybrid backend) has about 20
BUDGET = 400_000  # statements of one trace or one model; the largest real model needs 150 000
MAX_EVENTS = 20_000  # of one layer; beyond it only new calls are noted


@dataclass(frozen=True)
class Site:
    """A place in a source file, and the function it is in."""

    file: str
    line: int
    function: str


@dataclass(frozen=True)
class Event:
    """A call that leaves the tree, or launches a kernel of it."""

    kind: str  # "external", or the language of a kernel of the tree
    symbol: str
    conditions: tuple[str, ...]
    chain: tuple[Site, ...]  # the last is the call itself


@dataclass
class Frame:
    """One activation: local names (innermost scope first), receiver, class and returned values."""

    file: SourceFile
    scopes: tuple[dict[str, Any], ...]
    function: str = "<module>"
    receiver: Any = None
    owner: ClassRef | None = None
    returned: list[Any] = field(default_factory=list)
    escaped: bool = False  # an open branch of the innermost loop's body went on to the next item
    globals: set[str] = field(default_factory=set)  # declared with `global`

    @property
    def names(self) -> dict[str, Any]:
        """The scope that assignments write to."""
        return self.scopes[0]


@dataclass
class Machine:
    """The state. `known` maps a function's name to what it answers, without reading its body.

    `on_attribute` may answer an attribute of an open value (`forward_batch.attn_backend`),
    `on_open` one by what stands before it (`server_args.tp_size`).
    `unread` says which modules (by path) are not looked into: what they answer is open.
    `may_set` says in which files functions that set a global variable are looked for.
    `left_out` are attributes that are not built at all (a vision tower).
    """

    files: Files
    known: dict[str, Callable[..., Any]] = field(default_factory=dict)
    on_attribute: dict[str, Callable[[], Any]] = field(default_factory=dict)
    on_open: Callable[[str, str], Any] = lambda text, attr: NOTHING
    unread: Callable[[str], bool] = lambda path: False
    left_out: frozenset[str] = frozenset()
    conditions: list[str] = field(default_factory=list)
    chain: list[Site] = field(default_factory=list)
    bases: list[int] = field(default_factory=lambda: [0])
    active: list[tuple[ast.AST, Any]] = field(default_factory=list)
    tracing: bool = False
    events: list[Event] = field(default_factory=list)
    memo: dict[Any, Any] = field(default_factory=dict)  # calls of this layer, by memo.key
    lasting: dict[Any, Any] = field(default_factory=dict)  # those that see nothing of the layer
    instances: dict[Any, Instance] = field(default_factory=dict)
    budget: int = BUDGET
    opaque: Callable[[Instance], bool] = lambda instance: False
    may_set: Callable[[str], bool] = lambda path: False
    settled: set[tuple[str, str]] = field(default_factory=set)
    following: set[Lazy] = field(default_factory=set)
    root: Instance | None = None
    unfinished: set[str] = field(default_factory=set)  # classes whose trace ran out of budget
    left: set[str] = field(default_factory=set)

    def spend(self) -> bool:
        """Take one statement off the budget; False when it is used up."""
        self.budget -= 1
        return self.budget > 0

    def site(self, frame: Frame, node: ast.AST) -> Site:
        """Where `node` is."""
        return Site(frame.file.name, getattr(node, "lineno", 0), frame.function)

    def record(self, kind: str, symbol: str, frame: Frame, node: ast.AST) -> None:
        """Note a call, if tracing."""
        if self.tracing:
            chain = (*self.chain, self.site(frame, node))
            self.events.append(Event(kind, symbol, tuple(self.conditions), chain))

    def replay(self, events: list[Event], conditions: int, chain: int, site: Site) -> None:
        """Note again what an earlier call of the same function did, as done from `site`.

        `conditions` and `chain` say how much of each event belonged to the earlier call.
        """
        if len(self.events) + len(events) > MAX_EVENTS:
            return
        here, way = tuple(self.conditions), (*self.chain, site)
        self.events += [
            replace(e, conditions=here + e.conditions[conditions:], chain=way + e.chain[chain:])
            for e in events
        ]

    def open_here(self) -> str | None:
        """What is open since the object being built was begun, as text."""
        found = self.conditions[self.bases[-1] :]
        return " and ".join(dict.fromkeys(found)) or None

    def too_deep(self, function: FunctionRef, receiver: Any) -> bool:
        """Whether a call of `function` would recurse or go deeper than is useful."""
        if len(self.chain) > MAX_DEPTH or self.budget <= 0:
            return True
        return any(node is function.node and on is receiver for node, on in self.active)
