"""From raw dumps to definitions: each call read, built, checked, run, told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit.capture.normalize import families, measuring, mending, pairing, plain
from kernelkit.capture.normalize.context import CallContext
from kernelkit.capture.normalize.outcome import Normalized
from kernelkit.capture.normalize.raw import OtherInterface, RawDump, Refusal
from kernelkit.capture.normalize.reading import Reading
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import merge_tags
from kernelkit.dataset.validate.definitions import Problem, check_definition, check_document
from kernelkit.dataset.validate.findings import CODES, ERROR
from kernelkit.dataset.validate.references import check_reference
from kernelkit.errors import KernelkitError
from kernelkit.ops import OP_TYPES, family
from kernelkit.ops.base import Variant

if TYPE_CHECKING:
    from kernelkit.models.spec import ModelSpec

Smoke = Callable[[Iterable[Definition]], Iterator[tuple[Definition, list[Problem]]]]
ROUNDS = 4  # of running and mending
UNBOUND = "R7"
NOT_RUN = "R16"  # for our own references only a matter of size; others are refused then


@dataclass(frozen=True)
class Source:
    """What is known of the calls besides their dumps."""

    calls: Sequence[CallContext] = ()
    spec: ModelSpec | None = None
    flashinfer: Path | None = None  # a folder that holds flashinfer/
    tags: tuple[str, ...] = ()
    strict: bool = False  # refuse what rests on an assumption


def normalize(dumps: Sequence[RawDump], source: Source, root: Path) -> list[Normalized]:
    """Every dump under every distinct call that gave it, checked but not yet run."""
    results = []
    for dump in dumps:
        siblings = tuple(d for d in dumps if d.path.parent == dump.path.parent)
        calls = pairing.calls_of(dump, source.calls)
        varying = pairing.varying(dump, source.calls)
        for call in calls or [None]:
            reading = Reading(dump, call, source.spec, siblings, varying)
            results.append(_one(reading, source, root))
    _tell_apart(results)
    return results


def _one(reading: Reading, source: Source, root: Path) -> Normalized:
    dump = reading.dump
    path = dump.path.relative_to(root).as_posix() if root in dump.path.parents else dump.path.name
    result = Normalized(path, dump.name, dump.api, reading)
    try:
        variant = _variant(reading, source, result)
        if source.strict and reading.assumed:
            raise Refusal("assumed", "; ".join(reading.assumed))
        _check(variant.definition, unbound=not result.family)
    except Refusal as refusal:
        result.refusal = refusal
        return result
    except (KernelkitError, ValueError, KeyError, TypeError) as error:
        result.refusal = Refusal("failed", f"{type(error).__name__}: {error}")
        return result
    tags = [*_tags(variant.definition, reading.call), *source.tags]
    variant.definition.tags[:] = merge_tags(variant.definition.tags, tags)
    result.variant = variant
    return result


def _variant(reading: Reading, source: Source, result: Normalized) -> Variant:
    """By the API's family, else by the plain rules."""
    build = families.builder(reading.dump)
    if build is not None:
        try:
            result.family = True
            return families.definition_of(reading, build)
        except OtherInterface as other:
            result.family = False
            reading.notes.append(f"not the family's interface: {other}")
    return Variant(plain.definition_of(reading, source.flashinfer))


def _check(definition: Definition, *, unbound: bool = False) -> None:
    """Raises Refusal with the first error of the validator; `unbound` leaves R7 for a run."""
    document = definition.to_json()
    problems = [*check_document(document), *check_definition(definition)]
    problems += check_reference(document)
    for code, place, message, _ in problems:
        severity, meaning = CODES[code]
        if severity == ERROR and not (unbound and code == UNBOUND):
            raise Refusal("invalid", f"{code} {place}: {meaning}: {message}")


def _tags(definition: Definition, call: CallContext | None) -> list[str]:
    """Status, and what the record says of model and parallelism where shapes depend on it."""
    tags = ["status:unverified"]
    if call is None:
        return tags
    tags += [f"model:{call.model}"] if call.model else []
    divided = family(definition.op_type).divided_by if definition.op_type in OP_TYPES else None
    size = {"tp": call.tp, "ep": call.ep}.get(divided or "")
    return tags + ([f"{divided}:{size}"] if size else [])


def run_all(results: Sequence[Normalized], smoke: Smoke) -> None:
    """Run each distinct reference once on small inputs; mend what can be, take back what fails."""
    for result in results:
        _measure(result, smoke)
    pending = [result for result in results if result.definition is not None]
    for round_ in range(ROUNDS):
        problems = _problems(pending, smoke)
        pending = [r for r in pending if _judged(r, problems, last=round_ == ROUNDS - 1)]
        if not pending:
            break
    _tell_apart(results)


def _measure(result: Normalized, smoke: Smoke) -> None:
    """Find out by runs what output axes are that no input has; refuse what stays unknown."""
    if result.variant is None or not measuring.unbound(result.variant.definition):
        return
    definition = result.variant.definition
    probes = [plain.aside(probe) for probe in measuring.probes(definition)]
    runs = [problems for _, problems in smoke(probes)] if probes else []
    found = measuring.measured(definition, runs) if runs else None
    if found is None:
        settle(result, runs)
        return
    known = {axis: found.const_axes[axis] for axis in measuring.unbound(definition)}
    result.notes.append(f"output axes measured on runs of {measuring.SIZES} rows: {known}")
    result.variant = replace(result.variant, definition=found)


def settle(result: Normalized, runs: Sequence[list[Problem]] = ()) -> None:
    """Refuse a definition with output axes that no input has; `runs` show what it gives."""
    if result.definition is None or not measuring.unbound(result.definition):
        return
    names = ", ".join(measuring.unbound(result.definition))
    seen = "; ".join(problems[0][2] for problems in runs if problems)
    seen = f" (runs of {measuring.SIZES} rows: {seen})" if seen else ""
    result.refuse("axis-unbound", f"no input has the output's axes {names}{seen}")


def _problems(results: Sequence[Normalized], smoke: Smoke) -> dict[str, list[Problem]]:
    distinct = {identity(r.definition): r.definition for r in results if r.definition is not None}
    return {identity(made): problems for made, problems in smoke(distinct.values())}


def _judged(result: Normalized, found: dict[str, list[Problem]], *, last: bool) -> bool:
    """Act on the problems of a run; whether the result was mended and must run again."""
    if result.variant is None:
        return False
    definition = result.variant.definition
    problems = found.get(identity(definition), [])
    failing = [p for p in problems if CODES[p[0]][0] == ERROR or p[0] == NOT_RUN]
    if result.family and all(p[0] == NOT_RUN for p in failing):
        result.notes.extend(f"reference was not run: {p[2]}" for p in failing)
        return False
    if not failing:
        return False
    reading = None if last or result.family else result.reading
    mended = mending.mend(definition, problems, reading) if reading else None
    if mended is None:
        code, place, message, _ = failing[0]
        result.refuse("does-not-run", f"{code} {place}: {CODES[code][1]}: {message}")
        return False
    result.variant = replace(result.variant, definition=mended)
    return True


def identity(definition: Definition) -> str:
    """What makes two definitions one: interface and reference."""
    return repr(definition.signature()) + definition.reference


def _tell_apart(results: Sequence[Normalized]) -> None:
    """Give a second definition of one name another name, by a digest of what differs.

    Where the family names its variants (another eps), writing does that.
    """
    held: dict[str, str] = {}
    for result in results:
        if result.variant is None or result.variant.fallback_name is not None:
            continue
        definition = result.variant.definition
        own = identity(definition)
        if held.setdefault(definition.name, own) == own:
            continue
        digest = hashlib.sha256(own.encode()).hexdigest()[:6]
        name = f"{definition.name}_x{digest}"
        result.notes.append(f"{definition.name} is another call's; told apart as {name}")
        result.variant = replace(
            result.variant, definition=definition.model_copy(update={"name": name})
        )


def merged(results: Iterable[Normalized]) -> list[Variant]:
    """The distinct variants in order, each with the tags of all dumps that gave it."""
    found: dict[str, Variant] = {}
    for result in results:
        if result.variant is None:
            continue
        known = found.setdefault(identity(result.variant.definition), result.variant)
        tags = known.definition.tags
        tags[:] = merge_tags(tags, result.variant.definition.tags)
    return list(found.values())
