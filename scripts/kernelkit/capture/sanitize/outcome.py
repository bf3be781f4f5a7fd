"""What a run found: counts, names of what could not be used, and calls that no definition has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit.capture.sanitize.calls import Call, Unusable
from kernelkit.capture.sanitize.observed import Observed

if TYPE_CHECKING:
    from kernelkit.capture.sanitize.candidates import Candidate
    from kernelkit.capture.sanitize.matching import Fit
    from kernelkit.capture.sanitize.writing import Written


@dataclass(frozen=True)
class DefinitionOutcome:
    """One definition: its distinct workloads in the dump, those chosen, what was written."""

    name: str
    distinct: int
    chosen: Sequence[Candidate]
    written: Written | None
    error: str = ""

    def ranges(self) -> dict[str, list[int]]:
        """Least and greatest of each size among the chosen workloads."""
        names = sorted({name for item in self.chosen for name in item.features})
        sizes = {n: [c.features[n] for c in self.chosen if n in c.features] for n in names}
        return {name: [min(found), max(found)] for name, found in sizes.items()}


@dataclass
class Missed:
    """Calls alike that fit no definition."""

    call: str
    count: int
    nearest: str | None
    differs: list[str]
    example: str


@dataclass
class Outcome:
    """The whole run."""

    calls: int = 0
    definitions: list[DefinitionOutcome] = field(default_factory=list)
    without_workload: list[str] = field(default_factory=list)
    not_asked_for: int = 0
    matched: Counter[str] = field(default_factory=Counter)
    unusable: dict[str, list[Unusable]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    missed: dict[object, Missed] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> bool:
        """Whether a definition's workloads could not be read or written."""
        return any(item.error for item in self.definitions)

    def refuse(self, error: Unusable) -> None:
        """A call or folder that cannot be used."""
        self.unusable.setdefault(error.kind, []).append(error)

    def skip(self, call: Call) -> None:
        """A call of an API of which no workload is made."""
        self.skipped[call.name] += call.count

    def note(self, notes: Iterable[str]) -> None:
        """Remarks on calls that were used."""
        self.notes.update(notes)

    def miss(self, call: Call, observed: Observed, nearest: Fit | None) -> None:
        """A call that fits no definition; calls that differ in the same things are one entry."""
        name = nearest.definition.name if nearest else None
        differs = [str(difference) for difference in nearest.differences] if nearest else []
        key = call.name, name, tuple(differs)
        if key not in self.missed:
            text = f"{call.name}({_described(observed)})"
            self.missed[key] = Missed(text, 0, name, differs, call.place)
        self.missed[key].count += call.count


def _described(observed: Observed) -> str:
    parts = [
        f"{name} {value:g}" if isinstance(value, (int, float)) else
        f"{name} {list(value.shape)} {value.dtype}"
        for name, value in observed.inputs.items()
    ]  # fmt: skip
    parts += [f"{name} {value}" for name, value in observed.facts.items()]
    return ", ".join(parts)


def document(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """The run as one JSON document."""
    return {
        "dry_run": dry_run,
        "calls": outcome.calls,
        "added": sum(item.written.added for item in outcome.definitions if item.written),
        "definitions": [_definition(outcome, item) for item in outcome.definitions],
        "without_workload": sorted(outcome.without_workload),
        "definitions_not_asked_for": outcome.not_asked_for,
        "unmatched": [vars(item) for item in outcome.missed.values()],
        "unusable": [
            {
                "kind": kind,
                "count": len(errors),
                "calls": [{"call": e.place, "detail": e.detail} for e in errors],
            }
            for kind, errors in sorted(outcome.unusable.items())
        ],
        "not_made_into_workloads": dict(sorted(outcome.skipped.items())),
        "notes": dict(outcome.notes),
    }


def _definition(outcome: Outcome, item: DefinitionOutcome) -> dict[str, Any]:
    written = vars(item.written) if item.written else {"error": item.error}
    return {
        "name": item.name,
        "calls": outcome.matched[item.name],
        "distinct": item.distinct,
        "chosen": len(item.chosen),
        **written,
        "ranges": item.ranges(),
    }


def text(outcome: Outcome, *, dry_run: bool) -> str:
    """The run for a person: a line for each definition, and the sum."""
    lines = [_line(outcome, item) for item in outcome.definitions]
    lines += [f"no recorded workload: {name}" for name in sorted(outcome.without_workload)]
    verb = "would write" if dry_run else "wrote"
    added = sum(item.written.added for item in outcome.definitions if item.written)
    asked = len(outcome.definitions) + len(outcome.without_workload)
    covered = len(outcome.definitions)
    lines.append(f"{verb} {added} workloads for {covered} of {asked} definitions")
    return "\n".join(lines)


def remarks(outcome: Outcome, *, names: int = 3) -> list[str]:
    """What was not used, assumed or not matched, for a person; `names` examples of each kind."""
    lines = []
    for kind, errors in sorted(outcome.unusable.items()):
        shown = ", ".join(
            f"{e.place} ({e.detail})" if e.detail else e.place for e in errors[:names]
        )
        more = f" and {len(errors) - names} more" if len(errors) > names else ""
        lines.append(f"not usable, {kind}: {len(errors)}: {shown}{more}")
    for item in outcome.missed.values():
        near = f"nearest {item.nearest}: {'; '.join(item.differs)}" if item.nearest else (
            "the dataset has none of this API"
        )  # fmt: skip
        lines.append(f"no definition, {item.count} calls: {item.call}; {near}")
    for name, count in sorted(outcome.skipped.items()):
        lines.append(f"no workload is made of {name} ({count} calls)")
    lines += [f"{note} ({count} calls)" for note, count in outcome.notes.items()]
    return lines


def _line(outcome: Outcome, item: DefinitionOutcome) -> str:
    if item.written is None:
        return f"{item.name}: {item.error}"
    spread = ", ".join(
        f"{name} {low}" if low == high else f"{name} {low}-{high}"
        for name, (low, high) in item.ranges().items()
    )
    removed = f", {item.written.removed} removed" if item.written.removed else ""
    counts = f"{item.written.added} new, {item.written.kept} there already{removed}"
    seen = f"of {item.distinct} distinct in {outcome.matched[item.name]} calls"
    return f"{item.name}  {counts}, {seen}; {spread}"
