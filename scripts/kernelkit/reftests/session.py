"""One call of the script: choose definitions, write their tests, run them, record what came out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset, Loaded
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.reftests import outcomes, write
from kernelkit.reftests.plan import NoPlanError
from kernelkit.reftests.plans import plan_of
from kernelkit.reftests.running import run_files

Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Selection:
    """Definitions by name, by op type, or (neither) all."""

    names: tuple[str, ...] = ()
    op_types: tuple[str, ...] = ()


@dataclass
class Session:
    """What was done: tests written, definitions without a plan, files that cannot be read."""

    written: list[write.Written] = field(default_factory=list)
    definitions: dict[str, Definition] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    records: dict[str, outcomes.Record] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether a file could not be read or a test failed."""
        return bool(self.errors) or any(r["status"] == "failed" for r in self.records.values())


def select(dataset: Dataset, selection: Selection) -> list[Loaded[Definition]]:
    """The chosen files, bad ones among them. Raises UsageError for a name that is not there,
    NothingSelectedError where nothing matches."""
    found = list(dataset.load_definitions())
    if selection.names:
        held = {loaded.path.stem for loaded in found}
        if missing := [name for name in selection.names if name not in held]:
            raise UsageError(
                "no such definition in the dataset",
                received=", ".join(missing),
                next_step="derive_definitions.py writes definitions",
            )
        found = [loaded for loaded in found if loaded.path.stem in selection.names]
    if selection.op_types:
        kinds = {loaded.path.parent.name for loaded in found}
        found = [loaded for loaded in found if loaded.path.parent.name in selection.op_types]
        if not found:
            raise NothingSelectedError(
                "no definition of this op type",
                received=", ".join(selection.op_types),
                allowed=", ".join(sorted(kinds)) or "none: the dataset has no definitions",
            )
    if not found:
        raise NothingSelectedError("the dataset has no definitions", received=dataset.root)
    return found


def write_tests(
    dataset: Dataset, chosen: Iterable[Loaded[Definition]], options: write.Options, *, dry_run: bool
) -> Session:
    """Writes the chosen definitions' tests; a bad file or an unknown op hides no other."""
    session = Session()
    for loaded in chosen:
        if loaded.value is None:
            session.errors.append(f"{dataset.relative(loaded.path)}: {loaded.error}")
            continue
        name = loaded.value.name
        try:
            written = write.write(dataset, loaded.path, loaded.value, options, dry_run=dry_run)
        except NoPlanError as error:
            session.unsupported[name] = str(error)
            continue
        session.written.append(written)
        session.definitions[name] = loaded.value
    return session


def run_tests(dataset: Dataset, session: Session, timeout_s: float, progress: Progress) -> None:
    """Runs the session's tests, op type by op type, and records each outcome as soon as it is
    known: a killed run keeps what it has. Sets and takes away `status:verified`."""
    batches: dict[str, list[write.Written]] = defaultdict(list)
    for written in session.written:
        batches[session.definitions[written.name].op_type].append(written)
    held = outcomes.load(dataset.root.joinpath(*outcomes.FILE))
    for batch in progress(list(batches.values())):
        runs = run_files(dataset.root, [written.path for written in batch], timeout_s)
        records = {}
        for written in batch:
            definition = session.definitions[written.name]
            untouched = write.is_untouched(written.path.read_text(encoding="utf-8"))
            record = outcomes.record_of(
                definition, plan_of(definition).truths, runs[written.path], untouched=untouched
            )
            records[written.name] = record
            _retag(dataset, definition, record, held.get(written.name, {}))
        outcomes.save(dataset, records)
        session.records |= records


def _retag(
    dataset: Dataset, definition: Definition, record: outcomes.Record, held: outcomes.Record
) -> None:
    changed = outcomes.tagged(definition, record, held)
    record["status_tag"] = next((t for t in changed.tags if t.startswith("status:")), None)
    if changed != definition:
        dataset.write_definition(changed)


def document(dataset: Dataset, session: Session, *, dry_run: bool) -> dict[str, object]:
    """What was done, as plain JSON types."""
    return {
        "dry_run": dry_run,
        "tests": _rows(dataset, session),
        "unsupported": session.unsupported,
        "errors": session.errors,
        "totals": totals(session),
    }


def _rows(dataset: Dataset, session: Session) -> list[dict[str, object]]:
    return [
        {
            "definition": written.name,
            "path": dataset.relative(written.path),
            "action": written.action,
            "ground_truth": list(written.truths),
            **({"run": session.records[written.name]} if written.name in session.records else {}),
        }
        for written in session.written
    ]


def as_text(dataset: Dataset, session: Session, dry_run: bool) -> str:
    """A line a test, with what failed below it, and totals."""
    lines = []
    for written in session.written:
        record = session.records.get(written.name)
        said = f"  {_outcome(record)}" if record else f"  ({', '.join(written.truths)})"
        lines.append(f"{written.action:<11} {dataset.relative(written.path)}{said}")
        for failure in (record or {}).get("failures", []):
            lines.append(f"    {failure['test']}\n{_indented(failure['text'])}")
        if record and "trouble" in record:
            lines.append(_indented(record["trouble"]))
    lines += [f"unsupported {reason}" for reason in session.unsupported.values()]
    counts = ", ".join(f"{count} {name}" for name, count in totals(session).items())
    lines.append(f"dry run: {counts}" if dry_run else counts)
    return "\n".join(lines)


def _outcome(record: outcomes.Record) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in record["tests"].items() if count)
    passed = [
        name
        for name, sizes in record["ground_truth"].items()
        if any(size["outcome"] == "passed" for size in sizes.values())
    ]
    against = f" against {', '.join(passed)}" if passed else ""
    return f"{record['status']}{against} ({counts}); {record['status_tag'] or 'no status'}"


def _indented(text: str, most_lines: int = 12) -> str:
    """The last lines, without the traceback's source."""
    wanted = [line[4:] for line in text.splitlines() if line.startswith("E   ")]
    return "\n".join(f"        {line}" for line in (wanted or text.splitlines())[-most_lines:])


def totals(session: Session) -> dict[str, int]:
    """How many tests of each action, and of each status."""
    found: dict[str, int] = defaultdict(int)
    for written in session.written:
        found[written.action] += 1
    for record in session.records.values():
        found[record["status"]] += 1
        found["verified"] += bool(record["verified"])
    if session.unsupported:
        found["unsupported"] = len(session.unsupported)
    return dict(found)
