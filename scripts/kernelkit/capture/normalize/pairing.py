"""Which recorded call belongs to which dump."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from kernelkit.capture.normalize import context
from kernelkit.capture.normalize.context import CONTEXT_FILE, CallContext, Plain
from kernelkit.capture.normalize.raw import RawDump, public_api


def load(files: Iterable[Path]) -> tuple[list[CallContext], list[str]]:
    """The records of context files, and what could not be read of them."""
    calls, problems = [], []
    for path in files:
        for line in context.read(path):
            if line.call is None:
                problems.append(f"{path.name}:{line.number}: {line.error}")
            else:
                calls.append(line.call)
    return calls, problems


def beside(paths: Iterable[Path]) -> list[Path]:
    """The context files in the folders of dumps."""
    folders = sorted({path.parent for path in paths})
    return [folder / CONTEXT_FILE for folder in folders if (folder / CONTEXT_FILE).is_file()]


def calls_of(dump: RawDump, calls: Iterable[CallContext]) -> list[CallContext]:
    """The distinct calls that gave this dump: named by it, or of its API and its sizes."""
    found: list[CallContext] = []
    for call in calls:
        if _belongs(dump, call) and not any(_same(call, other) for other in found):
            found.append(call)
    return found


def unused(dumps: list[RawDump], calls: Iterable[CallContext]) -> Iterator[CallContext]:
    """Calls that belong to none of the dumps."""
    return (call for call in calls if not any(_belongs(dump, call) for dump in dumps))


def _belongs(dump: RawDump, call: CallContext) -> bool:
    if _function(call.api) != _function(dump.api):
        return False
    if call.dump is not None:
        return call.dump == dump.name
    sizes = {size for fact in call.tensors.values() for size in fact.shape}
    sizes |= {v for v in (*call.scalars.values(), *call.plan.values()) if isinstance(v, int)}
    return not call.tensors or all(value in sizes for value in dump.consts.values())


def _function(api: str) -> str:
    return (public_api(api) or api).rsplit(".", 1)[-1]


def _same(one: CallContext, other: CallContext) -> bool:
    """Whether two calls mean the same: facts, element types and flags, not numbers that vary."""
    types = [{n: t.dtype for n, t in call.tensors.items()} for call in (one, other)]
    flags = [{n: v for n, v in c.scalars.items() if not is_number(v)} for c in (one, other)]
    alike = types[0] == types[1] and flags[0] == flags[1] and one.tp == other.tp
    return alike and one.known() == other.known()


def varying(dump: RawDump, calls: Iterable[CallContext]) -> frozenset[str]:
    """The numbers among the arguments that differ between calls of this dump."""
    seen: dict[str, set[Plain]] = {}
    for call in calls:
        if _belongs(dump, call):
            for name, value in call.scalars.items():
                seen.setdefault(name, set()).add(value)
    return frozenset(
        n for n, values in seen.items() if len(values) > 1 and all(map(is_number, values))
    )


def is_number(value: Plain) -> bool:
    """Whether the value is a number; True and False are flags."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
