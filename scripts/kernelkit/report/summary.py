"""A whole dataset as a report: rows, totals, what is not covered, where it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset, Loaded, M
from kernelkit.dataset.trace import Trace
from kernelkit.report.rows import Row, geometric_mean, make_rows


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
    unreadable: list[str]
    environments: list[dict[str, Any]]  # hardware, libs

    @property
    def failures(self) -> list[Row]:
        """Rows that did not pass."""
        return [row for row in self.rows if not row.passed]

    @property
    def statuses(self) -> dict[str, int]:
        """Rows by status."""
        return dict(Counter(row.status for row in self.rows))

    @property
    def speedup(self) -> float | None:
        """Geometric mean over what passed."""
        return geometric_mean(self.rows)

    def groups(self) -> dict[str, list[Row]]:
        """Rows by op type."""
        found: dict[str, list[Row]] = {}
        for row in sorted(self.rows, key=lambda row: (row.op_type, row.definition)):
            found.setdefault(row.op_type, []).append(row)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        plain = {k: v for k, v in asdict(self).items() if k != "rows"}
        rows = [{**asdict(row), "log": row.log[-500:]} for row in self.rows]
        return {
            **plain,
            "statuses": self.statuses,
            "geometric_mean_speedup": self.speedup,
            "traces": [{k: _plain(v) for k, v in row.items()} for row in rows],
        }


def summarize(dataset: Dataset) -> Summary:
    """Read everything once; files that cannot be read are named, not raised."""
    unreadable: list[str] = []
    definitions = _values(dataset, dataset.load_definitions(), unreadable)
    solutions = _values(dataset, dataset.load_solutions(), unreadable)
    workloads = _values(dataset, dataset.load_workloads(), unreadable)
    traces = _values(dataset, dataset.load_traces(), unreadable)
    by_name: dict[str, Definition] = {definition.name: definition for definition in definitions}
    recorded, solved = {w.definition for w in workloads}, {s.definition for s in solutions}
    ran = {trace.definition for trace in traces}
    return Summary(
        dataset=dataset.root.resolve().name,
        rows=make_rows(traces, by_name),
        definitions=len(by_name),
        workloads=len(workloads),
        solutions=len(solutions),
        without_workloads=sorted(by_name.keys() - recorded),
        without_solutions=sorted(by_name.keys() - solved),
        without_traces=sorted((by_name.keys() & recorded & solved) - ran),
        unreadable=unreadable,
        environments=_environments(traces),
    )


def _values(dataset: Dataset, loaded: Iterable[Loaded[M]], unreadable: list[str]) -> list[M]:
    values: list[M] = []
    for item in loaded:
        if item.value is not None:
            values.append(item.value)
        else:
            line = f":{item.line}" if item.line else ""
            unreadable.append(f"{dataset.relative(item.path)}{line}: {item.error}")
    return values


def _environments(traces: list[Trace]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for trace in traces:
        if trace.evaluation is not None:
            environment = trace.evaluation.environment
            one = {"hardware": environment.hardware, "libs": environment.libs}
            if one not in found:
                found.append(one)
    return found


def _plain(value: object) -> object:
    """JSON has no infinity and no NaN: their names instead."""
    return str(value) if isinstance(value, float) and not -1e308 < value < 1e308 else value
