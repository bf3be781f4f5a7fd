"""Baselines for a selection of a dataset's definitions, written where they belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, load_json
from kernelkit.errors import FormatError, NothingSelectedError
from kernelkit.solutions.baselines.build import solution
from kernelkit.solutions.baselines.catalogue import Baseline, serving

CREATED, CHANGED, UNCHANGED = "created", "changed", "unchanged"
NONE, CONFLICT = "none", "conflict"


@dataclass(frozen=True)
class Outcome:
    """What became of one definition's baseline. `made` is absent where there is none."""

    definition: Definition
    action: str
    baseline: Baseline | None = None
    made: Solution | None = None
    note: str = ""

    def as_row(self) -> dict[str, Any]:
        """The outcome as plain data."""
        chosen = self.baseline
        return {
            "definition": self.definition.name,
            "op_type": self.definition.op_type,
            "action": self.action,
            "solution": self.made.name if self.made else None,
            "provider": chosen.provider if chosen else None,
            "apis": list(chosen.calls(self.definition)) if chosen else [],
            "note": self.note or (chosen.why if chosen else ""),
        }


def select(
    dataset: Dataset, names: Sequence[str] | None, op_types: Sequence[str] | None
) -> list[Definition]:
    """The definitions of these names, of these op types, or all.

    Raises UsageError for an unknown name, NothingSelectedError where none is left.
    """
    if names:
        return [dataset.find_definition(name) for name in dict.fromkeys(names)]
    found = dataset.definitions().values()
    chosen = [d for d in found if op_types is None or d.op_type in op_types]
    if not chosen:
        known = ", ".join(sorted({d.op_type for d in found}))
        raise NothingSelectedError(
            "no definition of the dataset is selected",
            received=", ".join(op_types or ["all"]), allowed=known,
        )  # fmt: skip
    return chosen


def plan(dataset: Dataset, definitions: Iterable[Definition], author: str) -> list[Outcome]:
    """What writing would do, definition by definition; nothing is written."""
    held = {s.value.name: s.path for s in dataset.load_solutions() if s.value is not None}
    found: list[Outcome] = []
    for definition in definitions:
        rows = serving(definition)
        found += [_one(dataset, definition, row, author, held) for row in rows]
        if not rows:
            found.append(Outcome(definition, NONE, note="no baseline is known for its family"))
    return found


def write(dataset: Dataset, outcomes: Iterable[Outcome]) -> None:
    """Write what is new or changed."""
    for outcome in outcomes:
        if outcome.made is not None and outcome.action in (CREATED, CHANGED):
            dataset.write_solution(outcome.made, outcome.definition)


def counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many outcomes of each kind."""
    return dict(Counter(outcome.action for outcome in outcomes))


def _one(
    dataset: Dataset, definition: Definition, baseline: Baseline, author: str,
    held: dict[str, Path],
) -> Outcome:  # fmt: skip
    try:
        made = solution(definition, baseline, author)
    except FormatError as error:
        return Outcome(definition, CONFLICT, baseline, note=str(error))
    path = dataset.solution_path(made, definition)
    other = held.get(made.name, path)
    if other != path:
        note = f"the name is held by {dataset.relative(other)}"
        return Outcome(definition, CONFLICT, baseline, made, note)
    if not path.exists():
        return Outcome(definition, CREATED, baseline, made)
    same = load_json(Solution, path).value == made
    return Outcome(definition, UNCHANGED if same else CHANGED, baseline, made)
