"""Evaluate the solutions of a dataset, definition by definition, and write each trace at once."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.bench import arena, ceilings
from kernelkit.bench.control import Control, ControlFailedError
from kernelkit.bench.cost import Work
from kernelkit.bench.processes import (
    Nursery,
    Service,
    ServiceError,
    SolutionFailedError,
    SolutionProcess,
)
from kernelkit.bench.selection import Plan, Task, mark
from kernelkit.bench.settings import Settings
from kernelkit.bench.trial import VERIFY_LIMIT, Outcome, Trial
from kernelkit.bench.verdict import make_evaluation
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, Language, Solution, SourceFile
from kernelkit.dataset.store import Dataset, is_lfs_pointer
from kernelkit.dataset.trace import Evaluation, Status, Trace
from kernelkit.dataset.workload import SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import FormatError, KernelkitError

TOGETHER = 8  # solutions whose processes live at the same time
MOST_TIMEOUTS = 2  # after so many in a row, a solution's other workloads are not tried
NO_SETUP = "it may take index tensors and scalars of the definition only"
BATCH_BYTES, BATCH_SHARE, MOST_SLOTS = 8 << 30, 0.2, 64  # of a batch, on a GPU


def run_plan(
    dataset: Dataset, plan: Plan, settings: Settings, target: Dataset
) -> Iterator[Trace | str]:
    """Run every pair; its trace is appended to `target` before it is yielded. A str tells why a
    workload or a definition gave none."""
    with tempfile.TemporaryDirectory(prefix="kernelkit-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)  # a solution's own user must reach its folder below
        evaluator = Evaluator(dataset, settings, Path(folder))
        try:
            for definition, tasks in _by_definition(plan):
                for found in evaluator.definition(definition, tasks):
                    if isinstance(found, Trace):
                        target.append_traces(definition, [found])
                    yield found
        finally:
            evaluator.stop()


def _by_definition(plan: Plan) -> Iterator[tuple[Definition, list[Task]]]:
    """The tasks of each definition, in the plan's order."""
    names = dict.fromkeys(task.definition.name for task in plan.tasks)
    for name in names:
        tasks = [task for task in plan.tasks if task.definition.name == name]
        yield tasks[0].definition, tasks


@dataclass
class Entry:
    """A solution in the course of its definition's workloads."""

    solution: Solution
    process: SolutionProcess | None = None
    isolation: list[str] = field(default_factory=list)
    setup: list[str] | None = None  # the inputs that its setup function takes
    timeouts: int = 0
    final: Outcome | None = None  # a verdict for all workloads: it does not build

    def end(self) -> dict[str, Any]:
        """End its process; says what it left behind."""
        process, self.process = self.process, None
        return process.kill() if process is not None else {}


class Evaluator:
    """The processes of a run on one device."""

    def __init__(self, dataset: Dataset, settings: Settings, folder: Path) -> None:
        self.dataset, self.settings, self.folder = dataset, settings, folder
        self.nursery = Nursery(folder)
        self.verifier = self._start_verifier()
        known = self.machine["ceilings"]
        self.ceilings = ceilings.from_json(known) if known else None

    def _start_verifier(self) -> Service:
        """The verifier, on its device."""
        service = Service("kernelkit.bench.verifier", self.folder / "verifier.log")
        self.machine = service.ask("start", device=self.settings.device)
        return service

    def stop(self) -> None:
        """End all processes."""
        self.nursery.stop()
        self.verifier.stop()

    def definition(self, definition: Definition, tasks: list[Task]) -> Iterator[Trace | str]:
        """All pairs of one definition; a str where something other than a solution is at fault."""
        solutions = {s.name: s for task in tasks for s in task.solutions}
        names = list(solutions)
        try:
            for first in range(0, len(names), TOGETHER):
                entries = [Entry(solutions[n]) for n in names[first : first + TOGETHER]]
                session = Session(self, definition, tasks, entries)
                try:
                    yield from session.run()
                finally:
                    session.stop()
        except ServiceError as error:
            yield f"{definition.name}: {error}"
            self.verifier.stop()
            self.verifier = self._start_verifier()


class Session:
    """Some solutions of one definition, on all its workloads."""

    def __init__(
        self, evaluator: Evaluator, definition: Definition, tasks: list[Task], entries: list[Entry]
    ) -> None:
        self.evaluator, self.definition = evaluator, definition
        self.tasks, self.entries = tasks, entries
        self.settings, self.verifier = evaluator.settings, evaluator.verifier
        self.control: Control | None = None
        self.tolerance = self.verifier.ask(
            "define", definition=definition.to_json(), tolerance=self.settings.tolerance
        )
        layouts = [arena.layout_of(definition, dict(task.workload.axes)) for task in tasks]
        self.slots = [self._slots(layout.bytes) for layout in layouts]
        most = [layout.bytes * n for layout, n in zip(layouts, self.slots, strict=True)]
        path = str(evaluator.folder / f"arena-{definition.name[:80]}")
        self.arena_bytes = max(most)
        self.arena = self.verifier.ask("make_arena", size=self.arena_bytes, path=path)

    def _slots(self, size: int) -> int:
        """Calls in a batch whose arena and contents fit the device."""
        if not self.settings.on_cuda or not self.settings.outside:
            return 1
        budget = min(BATCH_BYTES, int(BATCH_SHARE * self.evaluator.machine["free_bytes"]))
        return max(1, min(MOST_SLOTS, max(4, BATCH_BYTES // size), budget // size))

    def run(self) -> Iterator[Trace | str]:
        """Workload after workload, each with all solutions."""
        for task, slots in zip(self.tasks, self.slots, strict=True):
            names = {solution.name for solution in task.solutions}
            entries = [entry for entry in self.entries if entry.solution.name in names]
            if entries:
                try:
                    yield from self._workload(task, slots, entries)
                except (KernelkitError, ControlFailedError) as error:
                    yield f"{self.definition.name}: workload {task.workload.uuid}: {error}"

    def stop(self) -> None:
        """End the processes of all entries."""
        for entry in self.entries:
            entry.end()
        if self.control is not None:
            self.control.process.kill()

    def _workload(self, task: Task, slots: int, entries: list[Entry]) -> Iterator[Trace]:
        axes = dict(task.workload.axes)
        found = self.verifier.ask(
            "workload", VERIFY_LIMIT, axes=axes, seed=self.settings.seed, key=task.workload.uuid,
            given=given_inputs(self.evaluator.dataset, task.workload),
        )  # fmt: skip
        layout = arena.Layout.from_json(found["layout"])
        found["slots"] = [layout.shifted(n * layout.bytes).to_json() for n in range(slots)]
        found["order"] = list(self.definition.inputs)
        work = Work(**found["work"])
        found["floor_ms"] = work.floor_ms(self.evaluator.ceilings)
        self.verifier.ask("restore")
        control = self._begin_control(found)
        reference = self._time_reference()
        for entry in entries:
            outcome, printed, isolation = self._entry(entry, control, found, slots)
            head = f"{mark(entry.solution, self.settings.device)}\nseed {self.settings.seed}"
            parts = [head, outcome.message, *outcome.notes, self._without_paths(printed)]
            evaluation = make_evaluation(
                outcome, self.settings, tolerance=self.tolerance, reference=reference,
                machine=self.evaluator.machine, isolation=isolation, work=work,
                ceilings=self.evaluator.ceilings, log="\n".join(filter(None, parts)),
            )  # fmt: skip
            yield _trace(task, entry.solution, evaluation)

    def _without_paths(self, printed: str) -> str:
        """What a solution printed, without the paths of this machine's temporary folders."""
        return re.sub(rf"{re.escape(str(self.evaluator.folder))}/\d+/?", "", printed)

    def _begin_control(self, found: dict[str, Any]) -> Control:
        """The control process, on this workload."""
        if self.control is None:
            process, _, answer = self._start(reference_solution(self.definition))
            if not answer["ok"]:
                process.kill()
                raise FormatError(f"the reference does not load: {answer['error']}")
            self.control = Control(self.verifier, process, on_cuda=self.settings.on_cuda)
        try:
            self.control.begin(found["slots"], found["scalars"], found["order"])
        except (ControlFailedError, SolutionFailedError):
            self.control.process.kill()
            self.control = None
            raise
        return self.control

    def _time_reference(self) -> dict[str, Any]:
        settings = {
            "warmup": 2, "iterations": self.settings.iterations,
            "max_seconds": self.settings.max_seconds / 3,
        }  # fmt: skip
        return self.verifier.ask("time_reference", VERIFY_LIMIT, settings=settings)

    def _entry(
        self, entry: Entry, control: Control, found: dict[str, Any], slots: int
    ) -> tuple[Outcome, str, list[str]]:
        """One solution on the workload in hand: what came of it, what it printed, what held it."""
        outcome = entry.final or self._trial(entry, control, found, slots)
        process = entry.process
        printed = process.printed.text() if process is not None else ""
        isolation = entry.isolation
        if process is not None and entry.final is None:
            process.freeze()
            try:
                control.verify()
            except ControlFailedError as error:
                outcome = Outcome(Status.RUNTIME_ERROR, f"void: after this entry, {error}")
        if outcome.status is Status.TIMEOUT:
            entry.timeouts += 1
        elif outcome.status is Status.PASSED:
            entry.timeouts = 0
        if outcome.status is not Status.PASSED:
            left = entry.end().get("leftovers", 0)
            if left:
                outcome.notes.append(f"note: {left} processes of it were left, and killed")
        if entry.timeouts >= MOST_TIMEOUTS and entry.final is None:
            text = f"not started: timed out on {entry.timeouts} workloads in a row before"
            entry.final = Outcome(Status.TIMEOUT, text)
        return outcome, printed, isolation

    def _trial(self, entry: Entry, control: Control, found: dict[str, Any], slots: int) -> Outcome:
        try:
            if entry.process is None and (failed := self._load(entry)):
                return failed
            process = entry.process
            assert process is not None
            process.ask(
                "workload", self.settings.timeout, slots=found["slots"], scalars=found["scalars"],
                order=found["order"],
            )  # fmt: skip
        except SolutionFailedError as error:
            return Outcome(error.status, error.message)
        self.verifier.ask("restore")
        plannable = {*found["integers"], *found["scalars"]}
        declared = entry.setup is not None and plannable.issuperset(entry.setup)
        known = {
            **found,
            "setup_names": entry.setup if declared else None,
            "samples": self.tolerance["samples"],
        }
        outcome = Trial(
            self.verifier, process, control, entry.solution, self.settings, known, slots
        ).run()
        if entry.setup is not None and not declared:
            outcome.notes.append(f"note: setup({', '.join(entry.setup)}) is not called: {NO_SETUP}")
        return outcome

    def _load(self, entry: Entry) -> Outcome | None:
        """Start and load the entry's solution; the verdict where that fails."""
        try:
            entry.process, entry.isolation, answer = self._start(entry.solution)
        except SolutionFailedError as error:
            status = Status.TIMEOUT if error.status is Status.TIMEOUT else Status.COMPILE_ERROR
            entry.final = Outcome(status, f"while loading: {error.message}")
            return entry.final
        if not answer["ok"]:
            entry.final = Outcome(Status.COMPILE_ERROR, str(answer["error"])[:4000])
            return entry.final
        entry.setup = answer.get("setup")
        return None

    def _start(self, solution: Solution) -> tuple[SolutionProcess, list[str], dict[str, Any]]:
        """A new process with the solution loaded: it, what holds it in, its answer.

        Raises SolutionFailedError, with the process ended.
        """
        process = self.evaluator.nursery.fork(solution.name, {
            "device": self.settings.device, "arena": self.arena, "arena_bytes": self.arena_bytes,
            "file_mb": self.settings.file_mb, "events": self.evaluator.machine["events"],
        })  # fmt: skip
        try:
            isolation = process.ask("start", self.settings.timeout)
            if not isinstance(isolation, list):
                raise ServiceError(f"a solution's process did not start: {isolation}")
            process.write_sources([(s.path, s.content) for s in solution.sources])
            answer = process.ask("load", self.settings.timeout, spec=solution.spec.to_json())
        except BaseException:
            process.kill()
            raise
        if not isinstance(answer, dict) or "ok" not in answer:
            process.kill()
            raise SolutionFailedError(Status.RUNTIME_ERROR, "spoke out of turn while loading")
        return process, isolation, answer


def reference_solution(definition: Definition) -> Solution:
    """The definition's reference as a solution: the honest control."""
    return Solution(
        name="control",
        definition=definition.name,
        author="kernelkit",
        spec=BuildSpec(
            language=Language.PYTHON, target_hardware=["cpu", "cuda"],
            entry_point="reference.py::run", destination_passing_style=False,
        ),
        sources=[SourceFile(path="reference.py", content=definition.reference)],
    )  # fmt: skip


def _trace(task: Task, solution: Solution, evaluation: Evaluation) -> Trace:
    return Trace(
        definition=task.definition.name, workload=task.workload, solution=solution.name,
        evaluation=evaluation,
    )  # fmt: skip


def given_inputs(dataset: Dataset, workload: Workload) -> dict[str, Any]:
    """The workload's scalars and the places of its recorded tensors. Raises FormatError."""
    found: dict[str, Any] = {}
    for name, source in workload.inputs.items():
        if isinstance(source, ScalarInput):
            found[name] = {"value": source.value}
        elif isinstance(source, SafetensorsInput):
            path = (dataset.root / source.path).resolve()
            if not path.is_relative_to(dataset.root.resolve()):
                raise FormatError("a blob's path leaves the dataset", received=source.path)
            if not path.is_file():
                raise FormatError("a workload's blob is absent", received=source.path)
            if is_lfs_pointer(path):
                raise FormatError(
                    "a blob is a Git-LFS pointer", received=source.path, next_step="git lfs pull"
                )
            found[name] = {"path": str(path), "key": source.tensor_key}
    return found
