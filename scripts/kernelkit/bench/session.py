"""Some solutions of one definition, on all its workloads: one arena, one control, one verifier."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock.control import Control, ControlFailedError
from kernelkit.bench.entry import Entry, Ground, start
from kernelkit.bench.isolation import arena
from kernelkit.bench.isolation.processes import ServiceError, SolutionFailedError, kill_all
from kernelkit.bench.limits.cost import Work
from kernelkit.bench.selection import Task, mark
from kernelkit.bench.verdict import make_evaluation
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, Language, Solution, SourceFile
from kernelkit.dataset.store import Dataset, is_lfs_pointer
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import FormatError, KernelkitError

if TYPE_CHECKING:
    from kernelkit.bench.evaluation import Evaluator

BATCH_BYTES, BATCH_SHARE, MOST_SLOTS = 8 << 30, 0.2, 64  # of a batch, on a GPU


class Session:
    """See the module. The verifier may be replaced under way; then all is set up again."""

    def __init__(
        self, evaluator: Evaluator, definition: Definition, tasks: list[Task], entries: list[Entry]
    ) -> None:
        self.evaluator, self.definition = evaluator, definition
        self.tasks, self.entries = tasks, entries
        self.settings = evaluator.settings
        self.control: Control | None = None
        self.opened = False
        self.slots: list[int] = []

    def run(self) -> Iterator[Trace | str]:
        """Workload after workload, each with all solutions."""
        for task in self.tasks:
            names = {solution.name for solution in task.solutions}
            entries = [entry for entry in self.entries if entry.solution.name in names]
            try:
                if entries:
                    yield from self._workload(task, entries)
            except (KernelkitError, ControlFailedError) as error:
                yield f"{self.definition.name}: workload {task.workload.uuid}: {error}"
                self._recover()

    def stop(self) -> None:
        """End the processes of all entries, and the control's."""
        processes = [entry.process for entry in self.entries]
        processes.append(self.control.process if self.control is not None else None)
        kill_all([process for process in processes if process is not None])
        for entry in self.entries:
            entry.process = None
        self.control = None

    def _open(self) -> None:
        """Set the verifier up for the definition, with an arena for its largest workload."""
        if self.opened:
            return
        verifier = self.evaluator.verifier
        self.tolerance = verifier.ask(
            "define", definition=self.definition.to_json(), tolerance=self.settings.tolerance
        )
        layouts = [arena.layout_of(self.definition, dict(t.workload.axes)) for t in self.tasks]
        slots = [self._slots(layout.bytes) for layout in layouts]
        self.slots_of = {t.workload.uuid: n for t, n in zip(self.tasks, slots, strict=True)}
        self.arena_bytes = max(
            layout.bytes * number for layout, number in zip(layouts, slots, strict=True)
        )
        self.arena = verifier.ask("make_arena", size=self.arena_bytes)
        self.opened = True

    def _slots(self, size: int) -> int:
        """Calls in a batch whose arena and contents fit the device."""
        if not self.settings.on_cuda or not self.settings.outside:
            return 1
        budget = min(BATCH_BYTES, int(BATCH_SHARE * self.evaluator.machine["free_bytes"]))
        return max(1, min(MOST_SLOTS, max(4, BATCH_BYTES // size), budget // size))

    def _recover(self) -> None:
        """After a failure: a verifier that is broken is replaced, and all that it had set up."""
        if self.evaluator.verifier.broken:
            self.stop()
            self.opened = False
            self.evaluator.replace_verifier()

    def _workload(self, task: Task, entries: list[Entry]) -> Iterator[Trace]:
        fresh = [entry for entry in entries if entry.process is None and entry.final is None]
        ground = self._take_up(task, entries)
        if fresh and self.settings.on_cuda:
            self._compile(fresh, ground)
        for entry in entries:
            if ground is None:
                ground = self._take_up(task, entries)
            outcome = entry.evaluate(self, ground)
            head = f"{mark(entry.solution, self.settings.device)}\nseed {self.settings.seed}"
            parts = [head, outcome.message, *outcome.notes, self._without_paths(entry.printed)]
            evaluation = make_evaluation(
                outcome, self.settings, tolerance=self.tolerance, reference=ground.reference,
                machine=self.evaluator.machine, isolation=entry.isolation, work=ground.work,
                ceilings=self.evaluator.ceilings, log="\n".join(filter(None, parts)),
            )  # fmt: skip
            yield Trace(
                definition=self.definition.name, workload=task.workload,
                solution=entry.solution.name, evaluation=evaluation,
            )  # fmt: skip
            if outcome.shaken:  # the ground itself: take the workload up again
                ground = None
                self._recover()

    def _compile(self, entries: list[Entry], ground: Ground) -> None:
        """One call of every solution, all at once, before anything is timed."""
        self.evaluator.verifier.ask("fill", keys=["0/first"])
        with ThreadPoolExecutor(len(entries)) as pool:
            list(pool.map(lambda entry: entry.compile(self, ground), entries))
        for entry in entries:
            if entry.process is not None:
                entry.process.freeze()

    def _take_up(self, task: Task, entries: list[Entry]) -> Ground:
        """The workload on the verifier and the control; the reference is timed. Processes that are
        not there yet start meanwhile."""
        self._open()
        verifier = self.evaluator.verifier
        with ThreadPoolExecutor(len(entries) + 1) as pool:
            starting = pool.submit(self._start_control)
            loading = [pool.submit(entry.load, self) for entry in entries]
            found = verifier.ask(
                "workload", axes=dict(task.workload.axes), seed=self.settings.seed,
                key=task.workload.uuid, given=given_inputs(self.evaluator.dataset, task.workload),
            )  # fmt: skip
            control = starting.result()
            for future in loading:
                future.result()
        layout = arena.Layout.from_json(found["layout"])
        work = Work(**found["work"])
        slots = [layout.shifted(n * layout.bytes) for n in range(self.slots_of[task.workload.uuid])]
        ground = Ground(
            control=control,
            slots=[slot.to_json() for slot in slots],
            scalars=found["scalars"],
            order=list(self.definition.inputs),
            plannable={*found["integers"], *found["scalars"]},
            probes=found["probes"],
            work=work,
            floor_ms=work.floor_ms(self.evaluator.ceilings),
            samples=self.tolerance["samples"],
        )
        verifier.ask("lay_slots")
        try:
            control.begin(ground.slots, ground.scalars, ground.order)
        except (ControlFailedError, SolutionFailedError, ServiceError):
            control.process.kill()
            self.control = None
            raise
        ground.reference = self._time_reference()
        return ground

    def _without_paths(self, printed: str) -> str:
        """What a solution printed, without the paths of this machine's temporary folders."""
        return re.sub(rf"{re.escape(str(self.evaluator.folder))}/\d+/?", "", printed)

    def _start_control(self) -> Control:
        """The control, with its process."""
        if self.control is None:
            process, _, answer = start(self, reference_solution(self.definition), graph=False)
            if answer["ok"] is not True:
                process.kill()
                raise FormatError(f"the reference does not load: {answer.get('error')}")
            self.control = Control(self.evaluator.verifier, process, on_cuda=self.settings.on_cuda)
        return self.control

    def _time_reference(self) -> dict[str, Any]:
        settings = {
            "warmup": 2, "iterations": self.settings.iterations,
            "max_seconds": self.settings.max_seconds / 3,
        }  # fmt: skip
        if self.control is not None and not self.settings.on_cuda:
            return self.control.time_reference(**settings).to_json()
        return self.evaluator.verifier.ask("time_reference", settings=settings)


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
