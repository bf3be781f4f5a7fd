"""The search: from the parameters in force, one parameter at a time, as long as that helps.

A round builds every neighbour of each size's best (side by side), then times them one after
another. A neighbour that a few samples show far behind is dropped before it is timed in full.
Everything measured goes to a log of JSON lines; a second run reads it instead of measuring again.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import cli
from kernelkit.dataset.atomic import append_lines
from kernelkit.errors import FormatError, MissingDependencyError
from kernelkit.solutions.tuning import building, subject, table
from kernelkit.solutions.tuning.table import Parameters

if TYPE_CHECKING:
    from kernelkit.solutions.tuning.subject import Subject

GLANCE, FULL = 5, 40  # samples
GLANCE_SECONDS, FULL_SECONDS = 0.5, 2.0
FAR = 1.25  # of the best time: not worth a full timing
GAIN = 0.99  # of the best time: a change worth taking


@dataclass
class Plan:
    """What bounds the search."""

    device: str
    lanes: int
    rounds: int
    build_seconds: float
    seconds: float
    log: Path | None = None


@dataclass
class Found:
    """The outcome for one size."""

    axes: dict[str, int]
    start: Parameters
    best: Parameters
    start_ms: float | None = None
    best_ms: float = math.inf
    tried: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)


class Search:
    """One solution over some workloads."""

    def __init__(self, subject_: Subject, axes: list[dict[str, int]], plan: Plan) -> None:
        self.subject, self.plan = subject_, plan
        size = subject_.tables.size
        self.found = [
            Found(each, subject_.tables.row(each[size]), subject_.tables.row(each[size]))
            for each in axes
        ]
        self.deadline = time.monotonic() + plan.seconds
        self.workloads: dict[str, Any] = {}
        self.errors: dict[str, str] = {}
        self.runs: dict[str, Any] = {}
        self.log = self._read_log()
        self.root = tempfile.TemporaryDirectory(prefix="kernelkit-tune-")

    def run(self) -> list[Found]:
        """Search. Raises FormatError where the parameters in force fail, MissingDependencyError
        where the solution imports what is not here."""
        try:
            self._round([[found.start] for found in self.found], first=True)
            for number in range(self.plan.rounds):
                before = [dict(found.best) for found in self.found]
                self._round([self.neighbours(found.best) for found in self.found])
                if self.late() or before == [found.best for found in self.found]:
                    break
                cli.say(f"round {number + 1}: {self._line()}")
        finally:
            self.root.cleanup()
        return self.found

    def late(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() > self.deadline

    def neighbours(self, row: Parameters) -> list[Parameters]:
        """Rows that differ from `row` in one parameter."""
        space = self.subject.tables.space
        return [
            {**row, name: value} for name, values in space.items() for value in values
            if value != row[name]
        ]  # fmt: skip

    def _round(self, candidates: list[list[Parameters]], *, first: bool = False) -> None:
        """Build what is not built, then time size by size."""
        missing = {
            _name(row): row for rows, found in zip(candidates, self.found, strict=True)
            for row in rows if self._key(found, row) not in self.log
        }  # fmt: skip
        self._build([row for name, row in missing.items() if name not in self.errors])
        for found, rows in zip(self.found, candidates, strict=True):
            for row in cli.progress(rows, what=str(found.axes)):
                if self.late() and not first:
                    return
                self._consider(found, row, first)
            self.workloads.clear()  # one size's inputs at a time

    def _build(self, rows: list[Parameters]) -> None:
        axes = [found.axes for found in self.found]
        jobs = []
        for row in rows:
            folder = Path(self.root.name) / _name(row)
            self.subject.write_variant(folder, row)
            jobs.append(subject.job(self.subject, folder, axes, self.plan.device))
        if jobs:
            done = building.build_all(jobs, self.plan.lanes, self.plan.build_seconds)
            self.errors |= {Path(folder).name: error for folder, error in done.items()}

    def _consider(self, found: Found, row: Parameters, first: bool) -> None:
        """Measure one variant, or read it from the log, and take it where it is better."""
        key = self._key(found, row)
        if key not in self.log:
            self._write(key, {"axes": found.axes, "parameters": row, **self._measure(found, row)})
        seen = self.log[key]
        found.tried += 1
        if seen["status"] == "failed":
            found.failures.append({"parameters": row, "message": seen["message"]})
            if first:
                raise FormatError(f"the parameters in force fail: {seen['message']}",
                                  received=f"{row} on {found.axes}")  # fmt: skip
        elif first:
            found.start_ms = found.best_ms = seen["median_ms"]
        elif seen["median_ms"] < GAIN * found.best_ms:
            found.best, found.best_ms = row, seen["median_ms"]

    def _measure(self, found: Found, row: Parameters) -> dict[str, Any]:
        """Status, and median or message."""
        from kernelkit.solutions.tuning import clock, trial

        name = _name(row)
        if self.errors.get(name):
            return _failed(self.errors[name])
        definition = self.subject.definition
        try:
            if name not in self.runs:
                folder = Path(self.root.name) / name
                self.runs[name] = trial.load(folder, self.subject.spec)
            if not self.workloads:
                inputs = trial.inputs_of(definition, found.axes, self.plan.device)
                self.workloads = {"inputs": inputs, "want": trial.expected(definition, inputs),
                                  "flusher": clock.Waiting(self.plan.device)}  # fmt: skip
            inputs, flusher = self.workloads["inputs"], self.workloads["flusher"]
            if message := trial.fault(definition, self.runs[name], inputs, self.workloads["want"]):
                return _failed(message)
        except Exception as error:
            return _failed(f"{type(error).__name__}: {error}"[:500])

        def call() -> object:
            return self.runs[name](*inputs.values())

        glance = clock.timed(call, flusher, GLANCE, GLANCE_SECONDS)
        if glance.median_ms > FAR * found.best_ms:
            return {"status": "dropped", "median_ms": glance.median_ms, "samples": glance.samples}
        full = clock.timed(call, flusher, FULL, FULL_SECONDS)
        return {"status": "timed", "median_ms": full.median_ms, "samples": full.samples,
                "relative_error": full.relative_error, "method": full.method}  # fmt: skip

    def _key(self, found: Found, row: Parameters) -> str:
        """A variant on a workload: changes with the sources, the definition and the device."""
        from kernelkit.bench.device import hardware

        sources = {p: table.with_rows(t, []) for p, t in self.subject.sources.items()}
        parts = [sources, self.subject.definition.name, self.subject.definition.reference,
                 hardware(self.plan.device), found.axes, row]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]

    def _read_log(self) -> dict[str, dict[str, Any]]:
        """Lines of an earlier run by key; a line that was cut off is passed over."""
        lines: dict[str, dict[str, Any]] = {}
        if self.plan.log is not None and self.plan.log.is_file():
            for line in self.plan.log.read_text(encoding="utf-8").splitlines():
                try:
                    seen = json.loads(line)
                    lines[seen["key"]] = seen
                except (ValueError, KeyError, TypeError):
                    continue
        return lines

    def _write(self, key: str, seen: dict[str, Any]) -> None:
        self.log[key] = {"key": key, "definition": self.subject.definition.name, **seen}
        if self.plan.log is not None:
            append_lines(self.plan.log, [json.dumps(self.log[key])])

    def _line(self) -> str:
        return ", ".join(f"{f.axes[self.subject.tables.size]}: {f.best_ms:.4g} ms"
                         for f in self.found)  # fmt: skip


def _failed(message: str) -> dict[str, Any]:
    """A variant that failed. Raises MissingDependencyError where a package is absent: that says
    nothing of the parameters, and must not stand in the log when the package has come."""
    if message.startswith(ModuleNotFoundError.__name__):
        raise MissingDependencyError(
            "the solution imports what is not here",
            received=message,
            next_step="install it, then run the same command again",
        )
    return {"status": "failed", "message": message}


def _name(row: Parameters) -> str:
    """A folder's name for parameters."""
    return "v" + hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:12]


def winners(subject_: Subject, found: list[Found]) -> list[Parameters]:
    """Rows of TUNED from what was found, one workload a size (the slowest of a size counts)."""
    by_size: dict[int, Found] = {}
    for each in sorted(found, key=lambda each: each.best_ms):
        by_size[each.axes[subject_.tables.size]] = each
    return table.rows_of({size: each.best for size, each in by_size.items()})
