"""Run the checks over a dataset: every file by itself, so that no fault hides another."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, Loaded, load_json, load_jsonl
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.validate import definitions as of_definitions
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.validate.findings import ERROR, Finding
from kernelkit.dataset.validate.references import check_reference
from kernelkit.dataset.validate.solutions import check_solution, check_solution_document
from kernelkit.dataset.validate.traces import check_trace
from kernelkit.dataset.validate.workloads import check_workload
from kernelkit.errors import NothingSelectedError

CHECKS = ("layout", "definition", "reference", "workload", "solution", "trace")


@dataclass
class Report:
    """What was looked at, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return len(self.findings) - self.errors

    def add(self, dataset: Dataset, path: Path, problems: Iterable[Problem],
            line: int | None = None) -> None:  # fmt: skip
        """Take the problems of one file."""
        file = dataset.relative(path)
        self.findings += [Finding(code, file, *rest, line=line) for code, *rest in problems]


def validate(
    dataset: Dataset,
    names: list[str] | None = None,
    op_types: list[str] | None = None,
    checks: Iterable[str] = CHECKS,
    progress: Callable[[list[Path]], Iterable[Path]] = lambda paths: paths,
) -> Report:
    """All findings of the selected definitions and of what belongs to them.

    Raises NothingSelectedError where a name or an op type matches nothing, or nothing is there.
    """
    checks = set(checks)
    report = Report()
    found = [load_json(Definition, p) for p in dataset.files("definitions", ".json")]
    everything = {loaded.path.stem: loaded for loaded in found}
    wanted = _select(dataset, everything, names, op_types)
    whole = names is None and op_types is None
    known = {d.value.name: d.value for d in found if d.value is not None}
    report.definitions = {n: d for n, d in known.items() if whole or n in wanted}
    chosen = [everything[stem] for stem in wanted]
    if not chosen and not any(dataset.files(folder, "l") for folder in ("workloads", "traces")):
        raise NothingSelectedError("the dataset has no definitions", received=dataset.root)
    for loaded in chosen:
        _definition(dataset, report, loaded, checks)
    if "layout" in checks:
        _same_names(dataset, report, chosen)
    broken = {loaded.path.stem for loaded in found if loaded.value is None}
    rest = _Rest(dataset, report, known, broken, None if whole else set(wanted))
    rest.run(checks, progress)
    report.counts = {"definitions": len(chosen), **rest.counts}
    return report


def _select(
    dataset: Dataset,
    everything: dict[str, Any],
    names: list[str] | None,
    op_types: list[str] | None,
) -> list[str]:
    """Stems of the selected definition files."""
    for name in names or []:
        if name not in everything:
            close = difflib.get_close_matches(name, everything, n=3, cutoff=0.5)
            raise NothingSelectedError(
                "no such definition in the dataset",
                received=name,
                allowed=f"e.g. {', '.join(close)}" if close else f"{len(everything)} others",
            )
    folders = {loaded.path.parent.name for loaded in everything.values()}
    for op_type in op_types or []:
        if op_type not in folders:
            allowed = ", ".join(sorted(folders)) or "none: the dataset has no definitions"
            raise NothingSelectedError("no such op type in the dataset", received=op_type,
                                       allowed=allowed)  # fmt: skip
    return [
        stem
        for stem, loaded in everything.items()
        if (names is None or stem in names)
        and (op_types is None or loaded.path.parent.name in op_types)
    ]


def _definition(
    dataset: Dataset, report: Report, loaded: Loaded[Definition], checks: set[str]
) -> None:
    path, definition = loaded.path, loaded.value
    document = _raw(path)
    if document is None:
        report.add(dataset, path, [("P1", "", str(loaded.error), "repair or remove the file")])
        return
    problems = list(of_definitions.check_document(document))
    if definition is None and all(code == "S0" for code, *_ in problems):
        problems.append(("S8", "", str(loaded.error), "see the definition's schema"))
    if "definition" in checks:
        report.add(dataset, path, problems)
    if definition is None:
        return
    if "layout" in checks:
        report.add(dataset, path, _place(path, definition))
    if "definition" in checks:
        report.add(dataset, path, of_definitions.check_definition(definition))
    if "reference" in checks:
        report.add(dataset, path, check_reference(definition))


def _raw(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _place(path: Path, definition: Definition) -> Iterator[Problem]:
    if path.stem != definition.name:
        yield "P2", "name", definition.name, f"rename the file to {definition.name}.json"
    if path.parent.name != definition.op_type:
        yield "P3", "op_type", definition.op_type, f"move it to {definition.op_type}/"


def _same_names(dataset: Dataset, report: Report, chosen: list[Loaded[Definition]]) -> None:
    seen: dict[str, Path] = {}
    for loaded in chosen:
        if loaded.value is None:
            continue
        first = seen.setdefault(loaded.value.name, loaded.path)
        if first != loaded.path:
            problem = ("P4", "name", f"also {dataset.relative(first)}", "rename or remove one")
            report.add(dataset, loaded.path, [problem])


class _Rest:
    """Workloads, solutions and traces, with what they refer to."""

    def __init__(
        self,
        dataset: Dataset,
        report: Report,
        known: dict[str, Definition],
        broken: set[str],
        wanted: set[str] | None,
    ) -> None:
        self.dataset, self.report, self.known = dataset, report, known
        self.broken, self.wanted = broken, wanted
        self.solutions: dict[str, set[str]] = {}
        self.uuids: dict[str, set[str]] = {}
        self.counts = {"workloads": 0, "solutions": 0, "traces": 0}

    def run(self, checks: set[str], progress: Callable[[list[Path]], Iterable[Path]]) -> None:
        """Solutions and workloads first: traces refer to them."""
        for folder, suffix, check in (
            ("solutions", ".json", self.solution),
            ("workloads", ".jsonl", self.workloads),
            ("traces", ".jsonl", self.traces),
        ):
            paths = self.dataset.files(folder, suffix)
            for path in progress(paths):
                check(path, report=folder.removesuffix("s") in checks)

    def selected(self, name: str) -> bool:
        """Whether things of that definition are reported."""
        return self.wanted is None or name in self.wanted

    def add(
        self, path: Path, problems: Iterable[Problem], report: bool, line: int | None = None
    ) -> None:
        """Take problems where this kind of file is being checked; looking also notes names."""
        found = list(problems)
        if report:
            self.report.add(self.dataset, path, found, line)

    def solution(self, path: Path, report: bool) -> None:
        """One solution file."""
        loaded, document = load_json(Solution, path), _raw(path)
        solution = loaded.value
        if not self.selected(solution.definition if solution else path.parent.name):
            return
        self.counts["solutions"] += 1
        if document is not None:
            problems = list(check_solution_document(document))
            self.add(path, problems, report)
            if solution is None and any(code == "L4" for code, *_ in problems):
                return
        if solution is None:
            self.add(path, [("L0", "", str(loaded.error), "see the solution's schema")], report)
            return
        self.add(path, self._solution(path, solution), report)
        self.solutions.setdefault(solution.definition, set()).add(solution.name)

    def _solution(self, path: Path, solution: Solution) -> Iterator[Problem]:
        for others in self.solutions.values():
            if solution.name in others:
                yield "L3", "name", solution.name, "names are unique in the whole dataset"
        definition = self.known.get(solution.definition)
        if definition is None:
            if solution.definition not in self.broken:
                yield "L1", "definition", solution.definition, "add the definition"
            return
        want = (solution.author, definition.op_type, definition.name)
        if path.parts[-4:-1] != want:
            yield "L2", "", "/".join(path.parts[-4:-1]), f"move it to {'/'.join(want)}/"
        yield from check_solution(solution, definition)

    def workloads(self, path: Path, report: bool) -> None:
        """One workload file."""
        if not self.selected(path.stem):
            return
        for loaded in load_jsonl(Trace, path):
            self.counts["workloads"] += 1
            if loaded.value is None:
                problem = ("W0", "", str(loaded.error), "repair or remove the line")
                self.add(path, [problem], report, loaded.line)
                continue
            self.add(path, self._workload(path, loaded.value), report, loaded.line)

    def _workload(self, path: Path, line: Trace) -> Iterator[Problem]:
        definition = self.known.get(line.definition)
        if definition is None:
            if line.definition not in self.broken:
                yield "W1", "definition", line.definition, "add the definition"
            return
        if path.stem != line.definition or path.parent.name != definition.op_type:
            place = f"workloads/{definition.op_type}/{definition.name}.jsonl"
            yield "W2", "definition", line.definition, f"move the line to {place}"
        uuids = self.uuids.setdefault(line.definition, set())
        if line.workload.uuid in uuids:
            yield "W7", "workload.uuid", line.workload.uuid, "give it a new one, or drop it"
        uuids.add(line.workload.uuid)
        yield from check_workload(self.dataset.root, definition, line)

    def traces(self, path: Path, report: bool) -> None:
        """One trace file."""
        if not report or not self.selected(path.stem):
            return
        for loaded in load_jsonl(Trace, path):
            self.counts["traces"] += 1
            if loaded.value is None:
                problem = ("T0", "", str(loaded.error), "repair or remove the line")
                self.add(path, [problem], True, loaded.line)
                continue
            self.add(path, self._trace(path, loaded.value), True, loaded.line)

    def _trace(self, path: Path, trace: Trace) -> Iterator[Problem]:
        name = trace.definition
        if name not in self.known:
            if name not in self.broken:
                yield "T1", "definition", name, "add the definition"
            return
        if path.stem != name:
            yield "T7", "definition", name, f"move the line to {name}.jsonl"
        yield from check_trace(trace, self.solutions.get(name, ()), self.uuids.get(name, ()))
