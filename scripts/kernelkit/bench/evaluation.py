"""Evaluate the solutions of a dataset, definition by definition, and write each trace at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernelkit.bench.entry import Entry
from kernelkit.bench.isolation.processes import Nursery, Service, ServiceError
from kernelkit.bench.limits import ceilings
from kernelkit.bench.selection import Plan, Task
from kernelkit.bench.session import Session
from kernelkit.bench.settings import Settings
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.errors import KernelkitError

TOGETHER = 8  # solutions whose processes live at the same time
VERIFIER_SECONDS = 60.0  # beyond a call's own limit, for the reference and the comparison


def run_plan(
    dataset: Dataset, plan: Plan, settings: Settings, target: Dataset
) -> Iterator[Trace | str]:
    """Run every pair; its trace is appended to `target` before it is yielded. A str tells why a
    workload or a definition gave none. Raises KernelkitError where a trace cannot be written."""
    with tempfile.TemporaryDirectory(prefix="kernelkit-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)  # a solution's own user must reach its folder below
        evaluator = Evaluator(dataset, settings, Path(folder))
        try:
            for definition, tasks in by_definition(plan):
                for found in evaluator.definition(definition, tasks):
                    if isinstance(found, Trace):
                        _write(target, definition, found)
                    yield found
        finally:
            evaluator.stop()


def _write(target: Dataset, definition: Definition, trace: Trace) -> None:
    try:
        target.append_traces(definition, [trace])
    except OSError as error:
        raise KernelkitError(
            "a trace cannot be written; those before it are",
            received=f"{target.trace_path(definition)}: {error.strerror or error}",
            next_step="make room, then the same command with --resume",
        ) from None


def by_definition(plan: Plan) -> Iterator[tuple[Definition, list[Task]]]:
    """The tasks of each definition, in the plan's order."""
    for name in dict.fromkeys(task.definition.name for task in plan.tasks):
        tasks = [task for task in plan.tasks if task.definition.name == name]
        yield tasks[0].definition, tasks


class Evaluator:
    """The processes of a run on one device."""

    def __init__(self, dataset: Dataset, settings: Settings, folder: Path) -> None:
        self.dataset, self.settings, self.folder = dataset, settings, folder
        self.nursery = Nursery(folder)
        self.start_verifier()
        known = self.machine["ceilings"]
        self.ceilings = ceilings.from_json(known) if known else None

    def start_verifier(self) -> None:
        """The verifier, on its device."""
        self.verifier = Service("kernelkit.bench.judge.verifier", self.folder / "verifier.log")
        self.machine: dict[str, Any] = self.verifier.ask("start", device=self.settings.device)
        self.verifier.limit = self.settings.timeout + VERIFIER_SECONDS

    def replace_verifier(self) -> None:
        """A new verifier for one that has died or does not answer."""
        self.verifier.stop()
        self.start_verifier()

    def stop(self) -> None:
        """End all processes."""
        self.nursery.stop()
        self.verifier.stop()

    def definition(self, definition: Definition, tasks: list[Task]) -> Iterator[Trace | str]:
        """All pairs of one definition; a str where something other than a solution is at fault."""
        solutions = {s.name: s for task in tasks for s in task.solutions}
        names = list(solutions)
        for first in range(0, len(names), TOGETHER):
            entries = [Entry(solutions[name]) for name in names[first : first + TOGETHER]]
            session = Session(self, definition, tasks, entries)
            try:
                yield from session.run()
            except ServiceError as error:
                yield f"{definition.name}: {error}"
                if self.verifier.broken:
                    self.replace_verifier()
            finally:
                session.stop()
