"""One call to be named: its dump, what is known beside it, and what had to be assumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from kernelkit.capture.normalize.context import CallContext, Facts
from kernelkit.capture.normalize.raw import RawDump

if TYPE_CHECKING:
    from kernelkit.models.spec import ModelSpec

T = TypeVar("T")


@dataclass
class Reading:
    """A dump with its context. `siblings`: all dumps of the same folder (one pass, one model).

    varying: numbers that differ between calls of the dump; they stay inputs where they can.
    assumed: what nothing but a default says. notes: what was read differently from the dump.
    """

    dump: RawDump
    call: CallContext | None = None
    spec: ModelSpec | None = None
    siblings: tuple[RawDump, ...] = ()
    varying: frozenset[str] = frozenset()
    assumed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.facts: Facts = self.call.known() if self.call else Facts()

    def known_or(self, value: T | None, default: T, what: str) -> T:
        """The value; where it is None the default, which is written down as assumed."""
        if value is not None:
            return value
        self.assumed.append(what)
        return default

    def shape(self, *names: str) -> list[int] | None:
        """The recorded shape of the first of these arguments; None where none was recorded."""
        for name in names:
            if self.call and name in self.call.tensors:
                return self.call.tensors[name].shape
        return None

    def dtype(self, *names: str) -> str | None:
        """The element type of a tensor, as dumped or as recorded; None where neither knows."""
        for name in names:
            if found := self.dump.dtype(name):
                return found
            if self.call and name in self.call.tensors:
                return self.call.tensors[name].dtype
        return None
