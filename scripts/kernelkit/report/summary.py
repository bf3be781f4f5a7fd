"""A whole dataset as a report: rows, scores, what is not covered, where and when it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset, Loaded, M
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.report.rows import Row, make_rows, moment, relate
from kernelkit.report.scores import Score, by_author, by_solution, geometric_mean

MOST_NAMES = 8  # of an error message


@dataclass(frozen=True)
class Selection:
    """What a report is about; None: all. `baseline` is the name of a solution."""

    definitions: Collection[str] | None = None
    op_types: Collection[str] | None = None
    solutions: Collection[str] | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Summary:
    """What a report says. Names of definitions are sorted."""

    dataset: str
    rows: list[Row]
    definitions: int
    workloads: int
    solutions: int
    without_workloads: list[str]
    without_solutions: list[str]
    without_traces: list[str]  # they have both, and nothing was run
    unreadable: list[str]  # files and lines, each with the reason
    environments: list[dict[str, Any]]  # hardware, libs, and what ran there
    baseline: str | None = None
    scores: list[Score] = field(default_factory=list)
    authors: list[Score] = field(default_factory=list)

    @property
    def failures(self) -> list[Row]:
        """Rows that did not pass."""
        return [row for row in self.rows if not row.passed]

    @property
    def suspects(self) -> list[Row]:
        """Rows faster than the measured limit: an error somewhere, not a win."""
        return [row for row in self.rows if row.is_suspect]

    @property
    def statuses(self) -> dict[str, int]:
        """Rows by status."""
        return dict(Counter(row.status for row in self.rows))

    @property
    def speedup(self) -> float | None:
        """Geometric mean over what passed."""
        return geometric_mean(row.speedup for row in self.rows if row.passed)

    def groups(self) -> dict[tuple[str, str], list[Row]]:
        """Rows by definition and hardware."""
        return grouped(self.rows)


def grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by definition and hardware."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.definition, row.hardware), []).append(row)
    return found


def summarize(dataset: Dataset, selection: Selection | None = None) -> Summary:
    """Read everything once; files that cannot be read are named, not raised.

    Raises UsageError for a name that is not in the dataset, NothingSelectedError where the choice
    leaves neither a definition nor a trace.
    """
    chosen = selection or Selection()
    unreadable: list[str] = []
    definitions = list(_values(dataset, dataset.load_definitions(), unreadable))
    authors, solved = _solutions(dataset, unreadable)
    recorded = _workloads(dataset, unreadable)
    by_name: dict[str, Definition] = {definition.name: definition for definition in definitions}
    traces = _values(dataset, dataset.load_traces(), unreadable)
    everything = relate(make_rows(traces, by_name, authors), chosen.baseline)
    _check(chosen, everything, definitions, authors)
    rows = sorted((r for r in everything if _wanted(r, chosen)), key=_order)
    names = {d.name for d in definitions if _of_interest(d.name, d.op_type, chosen)}
    if not rows and (not names or chosen.solutions):
        raise NothingSelectedError("no trace and no definition is selected", received=dataset.root)
    ran = {row.definition for row in everything}
    counts = _workload_counts(recorded, everything)
    return Summary(
        dataset=dataset.root.resolve().name,
        rows=rows,
        definitions=len(names),
        workloads=sum(len(recorded.get(name, ())) for name in names),
        solutions=sum(solved[name] for name in names),
        without_workloads=sorted(names - recorded.keys()),
        without_solutions=sorted(names - solved.keys()),
        without_traces=sorted((names & recorded.keys() & solved.keys()) - ran),
        unreadable=unreadable,
        environments=environments(rows),
        baseline=chosen.baseline,
        scores=by_solution(rows, counts, baseline=chosen.baseline),
        authors=by_author(rows, counts, baseline=chosen.baseline),
    )


def environments(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Where rows ran: one entry per hardware and set of libraries."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.hardware, tuple(sorted(row.libs.items()))), []).append(row)
    return [
        {
            "hardware": hardware,
            "libs": dict(libs),
            "evaluators": _distinct(row.evaluator for row in members),
            "methods": _distinct(row.method for row in members),
            "l2": _distinct(row.l2 for row in members),
            "seeds": _distinct(row.seed for row in members),
            "first": min((row.timestamp for row in members), key=moment),
            "last": max((row.timestamp for row in members), key=moment),
            "traces": len(members),
        }
        for (hardware, libs), members in groups.items()
    ]


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def _workload_counts(recorded: Mapping[str, list[str]], rows: Iterable[Row]) -> dict[str, int]:
    """Distinct workloads by definition: the recorded ones, and those that traces bring."""
    known = {name: set(uuids) for name, uuids in recorded.items()}
    for row in rows:
        known.setdefault(row.definition, set()).add(row.workload)
    return {name: len(uuids) for name, uuids in known.items()}


def _order(row: Row) -> tuple[object, ...]:
    """By definition, workload size and speed; what failed comes last in its workload."""
    sizes = tuple(row.axes.values())
    return (row.op_type, row.definition, row.hardware, sizes, row.workload, not row.passed,
            row.latency_ms or 0.0, row.solution)  # fmt: skip


def _wanted(row: Row, chosen: Selection) -> bool:
    return _of_interest(row.definition, row.op_type, chosen) and (
        chosen.solutions is None or row.solution in chosen.solutions
    )


def _of_interest(definition: str, op_type: str, chosen: Selection) -> bool:
    named = chosen.definitions is None or definition in chosen.definitions
    return named and (chosen.op_types is None or op_type in chosen.op_types)


def _check(
    chosen: Selection, rows: list[Row], definitions: list[Definition], authors: dict[str, str]
) -> None:
    """Raises UsageError for a chosen name that nothing has, and a baseline that was not run."""
    ran = {row.solution for row in rows}
    names = {d.name for d in definitions} | {row.definition for row in rows}
    kinds = {d.op_type for d in definitions} | {row.op_type for row in rows}
    _known("definition", chosen.definitions, names)
    _known("op type", chosen.op_types, kinds)
    _known("solution", chosen.solutions, ran | authors.keys())
    _known("solution with a trace", [chosen.baseline] if chosen.baseline else None, ran)


def _known(what: str, asked: Iterable[str] | None, known: set[str]) -> None:
    missing = [name for name in asked or () if name not in known]
    if missing:
        shown = sorted(known)[:MOST_NAMES]
        more = f" and {len(known) - len(shown)} more" if len(known) > len(shown) else ""
        raise UsageError(
            f"no such {what} in the dataset", received=", ".join(missing),
            allowed=", ".join(shown) + more or "none",
        )  # fmt: skip


def _solutions(dataset: Dataset, unreadable: list[str]) -> tuple[dict[str, str], Counter[str]]:
    """Authors by solution, and how many solutions each definition has."""
    authors: dict[str, str] = {}
    solved: Counter[str] = Counter()
    for solution in _values(dataset, dataset.load_solutions(), unreadable):
        authors[solution.name] = solution.author
        solved[solution.definition] += 1
    return authors, solved


def _workloads(dataset: Dataset, unreadable: list[str]) -> dict[str, list[str]]:
    """The uuids of each definition's recorded workloads."""
    recorded: dict[str, list[str]] = {}
    for line in _values(dataset, dataset.load_workloads(), unreadable):
        recorded.setdefault(line.definition, []).append(line.workload.uuid)
    return recorded


def _values(dataset: Dataset, loaded: Iterable[Loaded[M]], unreadable: list[str]) -> Iterator[M]:
    """What can be read, one by one: a dataset's traces do not fit into memory as models."""
    for item in loaded:
        if item.value is not None:
            yield item.value
        else:
            line = f":{item.line}" if item.line else ""
            unreadable.append(f"{dataset.relative(item.path)}{line}: {item.error}")
