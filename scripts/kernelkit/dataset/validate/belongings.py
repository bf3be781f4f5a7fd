"""Workloads, solutions and traces: what belongs to the definitions, and refers to each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, Loaded, load_json, load_jsonl
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.validate.report import Report, read_raw
from kernelkit.dataset.validate.solutions import check_solution, check_solution_document
from kernelkit.dataset.validate.traces import check_trace
from kernelkit.dataset.validate.unknown import extras
from kernelkit.dataset.validate.workloads import check_workload
from kernelkit.dataset.workload import SafetensorsInput, Workload


class Belongings:
    """Workloads, solutions and traces of the `wanted` definitions (None: of all)."""

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
        self.names: dict[str, Path] = {}  # of solutions, in the whole dataset
        self.solutions: dict[str, set[str]] = {}
        self.lines: dict[str, dict[str, Workload | None]] = {}  # None: a line that is broken
        self.blobs: set[Path] = set()
        self.counts = {"workloads": 0, "solutions": 0, "traces": 0}

    def run(self, checks: set[str], progress: Callable[[list[Path]], Iterable[Path]]) -> None:
        """Solutions and workloads first, checked or not: traces and blobs refer to them."""
        for folder, suffix, check in (
            ("solutions", ".json", self._solution_file),
            ("workloads", ".jsonl", self._workload_file),
            ("traces", ".jsonl", self._trace_file),
        ):
            wanted = folder.removesuffix("s") in checks
            if wanted or folder != "traces":
                for path in progress(self.dataset.files(folder, suffix)):
                    check(path, wanted)

    def _selected(self, name: str) -> bool:
        return self.wanted is None or name in self.wanted

    def _absent(self, name: str, code: str) -> list[Problem]:
        """Nothing where the definition's own file is broken: that is reported there."""
        return [] if name in self.broken else [(code, "definition", name, "add the definition")]

    def _solution_file(self, path: Path, report: bool) -> None:
        loaded = load_json(Solution, path)
        solution = loaded.value
        name = solution.definition if solution else path.parent.name
        self.solutions.setdefault(name, set()).add(solution.name if solution else path.stem)
        first = self.names.setdefault(solution.name, path) if solution else path
        if not self._selected(name):
            return
        self.counts["solutions"] += 1
        if not report:
            return
        document, twice = read_raw(path)
        known = len(self.report.findings)
        if document is not None:
            self.report.add(self.dataset, path, check_solution_document(document, twice))
        if solution is not None:
            self.report.add(self.dataset, path, self._solution(path, solution, first))
        elif not any(finding.code == "L4" for finding in self.report.findings[known:]):
            problem = ("L0", "", str(loaded.error), "see the solution's schema")
            self.report.add(self.dataset, path, [problem])

    def _solution(self, path: Path, solution: Solution, first: Path) -> Iterator[Problem]:
        if first != path:
            text = f"{solution.name}, also {self.dataset.relative(first)}"
            yield "L3", "name", text, "names are unique in the whole dataset"
        definition = self.known.get(solution.definition)
        if definition is None:
            yield from self._absent(solution.definition, "L1")
        else:
            yield from self._placed(path, solution, definition)
        yield from check_solution(solution, definition)

    def _placed(self, path: Path, solution: Solution, definition: Definition) -> Iterator[Problem]:
        want = ("solutions", solution.author, definition.op_type, definition.name)
        held = path.relative_to(self.dataset.root).parts[:-1]
        if held != want:
            yield "L2", "", "/".join(held), f"move it to {'/'.join(want)}/"

    def _workload_file(self, path: Path, report: bool) -> None:
        if not self._selected(path.stem):
            return
        for loaded in load_jsonl(Trace, path):
            self.counts["workloads"] += 1
            line = loaded.value
            if line is None:
                self.lines.setdefault(path.stem, {})[_uuid(path, loaded)] = None
                problems: Iterable[Problem] = [
                    ("W0", "", str(loaded.error), "repair or remove the line")
                ]
            else:
                lines = self.lines.setdefault(line.definition, {})
                is_new = line.workload.uuid not in lines
                lines.setdefault(line.workload.uuid, line.workload)
                self._note_blobs(line.workload)
                problems = self._workload(path, line, is_new)
            if report:
                self.report.add(self.dataset, path, problems, loaded.line)

    def _note_blobs(self, workload: Workload) -> None:
        for source in workload.inputs.values():
            if isinstance(source, SafetensorsInput):
                self.blobs.add(self.dataset.root / source.path)

    def _workload(self, path: Path, line: Trace, is_new: bool) -> Iterator[Problem]:
        yield from extras(line)
        definition = self.known.get(line.definition)
        if definition is None:
            yield from self._absent(line.definition, "W1")
        elif self._misplaced(path, definition):
            place = f"workloads/{definition.op_type}/{definition.name}.jsonl"
            yield "W2", "definition", line.definition, f"move the line to {place}"
        if not is_new:
            yield "W7", "workload.uuid", line.workload.uuid, "give it a new one, or drop it"
        yield from check_workload(self.dataset.root, definition, line)

    def _trace_file(self, path: Path, report: bool) -> None:
        if not self._selected(path.stem):
            return
        for loaded in load_jsonl(Trace, path):
            self.counts["traces"] += 1
            if loaded.value is None:
                problems: Iterable[Problem] = [
                    ("T0", "", str(loaded.error), "repair or remove the line")
                ]
            else:
                problems = self._trace(path, loaded.value)
            self.report.add(self.dataset, path, problems, loaded.line)

    def _trace(self, path: Path, trace: Trace) -> Iterator[Problem]:
        yield from extras(trace)
        name = trace.definition
        definition = self.known.get(name)
        if definition is None:
            yield from self._absent(name, "T1")
        elif self._misplaced(path, definition):
            place = f"traces/{definition.op_type}/{name}.jsonl"
            yield "T7", "definition", name, f"move the line to {place}"
        yield from check_trace(trace, self.solutions.get(name, ()), self.lines.get(name, {}))

    def _misplaced(self, path: Path, definition: Definition) -> bool:
        return (path.stem, path.parent.name) != (definition.name, definition.op_type)


def _uuid(path: Path, loaded: Loaded[Trace]) -> str:
    """The uuid of a line that does not load, as far as it can be read."""
    try:
        text = path.read_bytes().split(b"\n")[(loaded.line or 1) - 1]
        return str(json.loads(text)["workload"]["uuid"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""
