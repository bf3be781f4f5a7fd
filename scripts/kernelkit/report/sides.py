"""The two sides of a comparison: two solutions of a dataset, or two trace files or datasets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.dataset.store import Dataset, Loaded, load_jsonl
from kernelkit.dataset.trace import Trace
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.report.against import Key
from kernelkit.report.rows import Row, make_rows

MOST_NAMES = 8


@dataclass
class Sides:
    """Rows to compare by key, and the lines that could not be read."""

    a: dict[Key, Row]
    b: dict[Key, Row]
    skipped: list[str] = field(default_factory=list)


def of_solutions(dataset: Dataset, a: str, b: str) -> Sides:
    """Two solutions, matched by definition, workload and hardware.

    Raises UsageError for a solution without a trace, NothingSelectedError where they share no
    workload.
    """
    skipped: list[str] = []
    rows = make_rows(_traces(dataset.load_traces(), skipped), {})
    known = {row.solution for row in rows}
    for name in (a, b):
        if name not in known:
            shown = ", ".join(sorted(known)[:MOST_NAMES]) or "none: there are no traces"
            raise UsageError("no trace of this solution", received=name, allowed=shown)
    sides = Sides(*({row.place: row for row in rows if row.solution == n} for n in (a, b)), skipped)
    return _checked(sides, "the two solutions were not run on a common workload and hardware")


def of_paths(a: Path, b: Path) -> Sides:
    """Two trace files or datasets, matched by definition, workload, hardware and solution.

    Where each side has one solution of a definition, their names may differ. Raises UsageError for
    a path that is neither, NothingSelectedError where no key is on both sides.
    """
    skipped: list[str] = []
    rows_a, rows_b = (make_rows(_traces(_load(path), skipped), {}) for path in (a, b))
    names_a, names_b = _names(rows_a), _names(rows_b)
    free = {d for d in names_a if len(names_a[d]) == 1 and len(names_b.get(d, ())) == 1}

    def keyed(rows: Iterable[Row]) -> dict[Key, Row]:
        return {(*row.place, "" if row.definition in free else row.solution): row for row in rows}

    sides = Sides(keyed(rows_a), keyed(rows_b), skipped)
    return _checked(sides, "the two sides share no definition, workload, hardware and solution")


def _checked(sides: Sides, problem: str) -> Sides:
    if sides.a.keys().isdisjoint(sides.b):
        hardware = [sorted({row.hardware for row in side.values()}) for side in (sides.a, sides.b)]
        raise NothingSelectedError(
            problem, received=f"A on {', '.join(hardware[0]) or 'nothing'}; "
            f"B on {', '.join(hardware[1]) or 'nothing'}",
        )  # fmt: skip
    return sides


def _names(rows: Iterable[Row]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.definition, set()).add(row.solution)
    return found


def _load(path: Path) -> Iterable[Loaded[Trace]]:
    if path.is_dir():
        return Dataset.open(path).load_traces()
    if path.is_file():
        return load_jsonl(Trace, path)
    raise UsageError(
        "no such trace file or dataset", received=path,
        next_step="for solution names give --dataset DIR",
    )  # fmt: skip


def _traces(loaded: Iterable[Loaded[Trace]], skipped: list[str]) -> Iterator[Trace]:
    for item in loaded:
        if item.value is not None:
            yield item.value
        else:
            skipped.append(f"{item.path.name}:{item.line}: {item.error}")
