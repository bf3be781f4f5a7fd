"""Dumps and recordings to workloads: read, pair, match, choose, write. Nothing is kept in memory
but a small record for each distinct workload; tensors of chosen ones are read a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.capture.recording import SUFFIX
from kernelkit.capture.sanitize import level10, recordings
from kernelkit.capture.sanitize.calls import Call, LeftOut, Unusable
from kernelkit.capture.sanitize.candidates import Candidate
from kernelkit.capture.sanitize.coverage import spread
from kernelkit.capture.sanitize.matching import Matcher
from kernelkit.capture.sanitize.outcome import DefinitionOutcome, Outcome
from kernelkit.capture.sanitize.pairing import paired
from kernelkit.capture.sanitize.reading import Reading
from kernelkit.capture.sanitize.writing import Writer
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.errors import KernelkitError, NothingSelectedError, UsageError


@dataclass(frozen=True)
class Settings:
    """What a run keeps: see `scripts/sanitize_dumps.py --help`."""

    most: int | None = 20
    per_axes: int | None = 2
    replace: bool = False
    strict: bool = True
    accept_incomplete: bool = False
    store: str = "structural"
    dry_run: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    otherwise: Mapping[str, str] = field(default_factory=dict)


def chosen_definitions(
    dataset: Dataset, names: Sequence[str] | None, op_types: Sequence[str] | None
) -> list[Definition]:
    """Those of that name, or of those op types, or all. Raises UsageError for an unknown name,
    NothingSelectedError where an op type has none."""
    if names:
        return [dataset.find_definition(name) for name in names]
    everything = list(dataset.definitions().values())
    known = {definition.op_type for definition in everything}
    if absent := set(op_types or ()) - known or not everything:
        raise NothingSelectedError(
            "the dataset has no such definitions",
            received=", ".join(sorted(absent)) if op_types else "an empty dataset",
            allowed=", ".join(sorted(known)),
        )
    return [d for d in everything if not op_types or d.op_type in op_types]


def sanitize(
    dump: Path,
    dataset: Dataset,
    wanted: Sequence[Definition],
    settings: Settings,
    progress: Callable[[Sequence[str]], Iterable[str]] = lambda folders: folders,
) -> Outcome:
    """The workloads of `wanted` that the dump holds, written unless a dry run.

    All definitions of the dataset are matched, so that a call of an unwanted one is not taken for
    unknown. Raises UsageError without the folder, NothingSelectedError where it holds no call.
    """
    if not dump.is_dir():
        raise UsageError("no such dump folder", received=dump,
                         next_step="record first, or name the folder that holds the "
                         "recordings")  # fmt: skip
    everything = list(dataset.definitions().values())
    reading = Reading(Matcher(everything), settings.strict, settings.store)
    for item in _calls(dump, settings, progress):
        reading.take(item)
    outcome = reading.outcome
    if not outcome.calls and not outcome.unusable:
        raise NothingSelectedError(
            "no recorded call in the dump",
            received=dump,
            next_step="record with FLASHINFER_LOGLEVEL=10 and FLASHINFER_DUMP_DIR, or the recorder",
        )
    for derived in reading.steps.candidates(everything):
        reading.add(derived)
    names = {definition.name for definition in wanted}
    writer = Writer(
        dataset, settings.store, settings.strict, settings.known, settings.replace,
        settings.dry_run, settings.otherwise,
    )  # fmt: skip
    for definition in everything:
        candidates = reading.found.get(definition.name)
        if candidates and definition.name in names:
            outcome.definitions.append(_keep(writer, definition, candidates, settings))
        elif candidates:
            outcome.not_asked_for += 1
        elif definition.name in names:
            outcome.without_workload.append(definition.name)
    return outcome


def _calls(
    dump: Path, settings: Settings, progress: Callable[[Sequence[str]], Iterable[str]]
) -> Iterator[Call | Unusable | LeftOut]:
    found = level10.look(dump)
    yield from found.unreadable
    incomplete = settings.accept_incomplete
    folders = progress(found.folders)
    yield from paired(level10.read_calls(folders, dump, accept_incomplete=incomplete))
    for path in found.files:
        if path.endswith(SUFFIX):
            yield from recordings.read_calls(Path(path), dump, accept_incomplete=incomplete)


def _keep(
    writer: Writer,
    definition: Definition,
    candidates: Mapping[str, Candidate],
    settings: Settings,
) -> DefinitionOutcome:
    """Choose and write one definition's workloads. A file that cannot be read is its own error."""
    try:
        held = writer.dataset.workloads_of(definition)
        others = [line.workload.axes for line in held if line.workload.uuid not in candidates]
        chosen = spread(
            list(candidates.values()),
            [] if settings.replace else others,
            most=settings.most,
            per_axes=settings.per_axes,
        )
        written = writer.write(definition, chosen, held)
    except (KernelkitError, OSError) as error:
        return DefinitionOutcome(definition.name, len(candidates), [], None, str(error))
    return DefinitionOutcome(definition.name, len(candidates), chosen, written)
