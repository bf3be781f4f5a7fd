"""Some solutions of one definition, on all its workloads: one arena, one control, one verifier."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock import keys
from kernelkit.bench.clock.control import Control, ControlFailedError
from kernelkit.bench.entry import Entry, Ground, start
from kernelkit.bench.given import given_inputs, reference_solution
from kernelkit.bench.isolation.arena import layout_of
from kernelkit.bench.isolation.processes import SolutionFailedError, SolutionProcess, kill_all
from kernelkit.bench.isolation.service import Service, ServiceError
from kernelkit.bench.room import room
from kernelkit.bench.selection import Task, mark
from kernelkit.bench.verdict import make_evaluation
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Trace
from kernelkit.errors import FormatError, KernelkitError

if TYPE_CHECKING:
    from kernelkit.bench.evaluation import Evaluator

REHEARSAL = "0/rehearsal"  # contents that no call that counts will see
REFERENCE_PART, REFERENCE_CALLS = 40, 20  # of a workload's time and calls, for the reference (GPU)


class Session:
    """See the module. The verifier may be replaced under way; then all is set up again.

    `name` is that of its station on the verifier. `share` is its part of the memory for arenas.
    """

    def __init__(
        self, evaluator: Evaluator, definition: Definition, tasks: list[Task], entries: list[Entry],
        name: str, share: float = 1.0,
    ) -> None:  # fmt: skip
        self.evaluator, self.definition, self.name = evaluator, definition, name
        self.tasks, self.entries, self.share = tasks, entries, share
        self.settings = evaluator.settings
        self.control: Control | None = None
        self.opened_on: Service | None = None
        self.place: Future[dict[str, Any]] = Future()
        self.taken: tuple[str, Ground] | None = None  # a workload that is taken up already
        self.first: Future[Ground] = Future()  # the first workload, for calls ahead of all timing

    def arena(self) -> dict[str, Any]:
        """Where the arena is, for a process to open it; waits until there is one."""
        return self.place.result()

    def take_first(self) -> bool:
        """Take up the first workload and fill a slot, so that processes can make a call; whether
        that went well."""
        task = self.tasks[0]
        try:
            ground = self._make_ground(task, self._on_verifier(task))
            self.evaluator.verifier.ask("fill", keys=[REHEARSAL])
            self.first.set_result(ground)
            self.evaluator.verifier.ask("rehearse")
        except KernelkitError as error:
            self.give_up(error)
            return False
        self.taken = task.workload.uuid, ground
        return True

    def give_up(self, error: BaseException) -> None:
        """Let nothing wait for the arena or the first workload any more."""
        for awaited in (self.place, self.first):
            if not awaited.done():
                awaited.set_exception(error)

    def bring_up(self, pool: Executor) -> list[Future[Any]]:
        """Start all processes of the first workload; each makes a call on it, once `take_first`
        has taken it up."""

        def entry(one: Entry) -> None:
            one.load(self)
            one.compile(self, self.first.result())

        def control() -> None:
            self._start_control().rehearse(self.first.result().workload)

        entries = self._entries_of(self.tasks[0])
        return [pool.submit(control), *(pool.submit(entry, one) for one in entries)]

    def _entries_of(self, task: Task) -> list[Entry]:
        names = {solution.name for solution in task.solutions}
        return [entry for entry in self.entries if entry.solution.name in names]

    def run(self) -> Iterator[Trace | str]:
        """Workload after workload, each with all solutions."""
        for task in self.tasks:
            entries = self._entries_of(task)
            try:
                if entries:
                    yield from self._workload(task, entries)
            except (KernelkitError, ControlFailedError) as error:
                yield f"{self.definition.name}: workload {task.workload.uuid}: {error}"
                self._recover()

    def processes(self) -> list[SolutionProcess]:
        """All that run; they are given up."""
        found = self._living()
        for entry in self.entries:
            entry.keep_builds(self)
            entry.process = entry.ground = entry.rehearsed = None
        self.control = None
        return found

    def open(self) -> None:
        """Set the verifier up for the definition, with an arena for its largest workload; what
        waits for the arena goes on, also where this fails."""
        verifier = self.evaluator.verifier
        if self.opened_on is verifier:
            verifier.ask("take", name=self.name)
            return
        if self.place.done():
            self.place = Future()
        try:
            self.place.set_result(self._open(verifier))
        except BaseException as error:
            self.place.set_exception(error)
            raise
        self.opened_on = verifier

    def _open(self, verifier: Service) -> dict[str, Any]:
        machine = self.evaluator.machine
        self.tolerance = verifier.ask(
            "define", name=self.name, definition=self.definition.to_json(),
            tolerance=self.settings.tolerance,
        )  # fmt: skip
        sizes = [layout_of(self.definition, dict(t.workload.axes)).bytes for t in self.tasks]
        slots, size = room(sizes, self.settings, int(self.share * machine["free_bytes"]))
        self.slots_of = {t.workload.uuid: n for t, n in zip(self.tasks, slots, strict=True)}
        handle = verifier.ask("make_arena", size=size)
        return {"arena": handle, "arena_bytes": size, "events": machine["events"]}

    def _recover(self) -> None:
        """After a failure: a verifier that is broken is replaced, and all that it had set up."""
        if self.evaluator.verifier.broken:
            stop([self])
            self.taken = None
            self.evaluator.replace_verifier()

    def _workload(self, task: Task, entries: list[Entry]) -> Iterator[Trace]:
        ground = self._ground(task, entries)
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

    def _ground(self, task: Task, entries: list[Entry]) -> Ground:
        """The workload, taken up, perhaps ahead."""
        if self.opened_on not in (None, self.evaluator.verifier):
            stop([self])  # the verifier was replaced: the arena is gone
            self.taken = None
        (uuid, ground), self.taken = self.taken or ("", None), None
        if ground is not None and uuid == task.workload.uuid:
            self.open()
            return self._measure(ground)
        return self._take_up(task, entries)

    def _compile(self, entries: list[Entry], ground: Ground) -> None:
        """One call of every solution, all at once, before anything is timed: kernels that are
        compiled, or loaded at first use, are there then."""
        self.evaluator.verifier.ask("fill", keys=[REHEARSAL])
        with ThreadPoolExecutor(len(entries)) as pool:
            calls = [pool.submit(entry.compile, self, ground) for entry in entries]
            self.expect(ground, calls)
            for call in calls:
                call.result()

    def expect(self, ground: Ground, meanwhile: list[Future[Any]]) -> None:
        """Let the verifier make contents and outputs of calls to come while processes are busy."""
        kinds = {keys.kind_of(e.setup) for e in self.entries if e.process is not None}
        ahead = keys.keys_ahead(self.settings, ground.slots, ground.probes, kinds)
        for key in ahead if not ground.samples else ():
            done = all(future.done() for future in meanwhile)
            if done or not self.evaluator.verifier.ask("expect", key=key):
                return

    def freeze(self) -> None:
        """Stop all processes."""
        for process in self._living():
            process.freeze()

    def _living(self) -> list[SolutionProcess]:
        found = [entry.process for entry in self.entries]
        found.append(self.control.process if self.control is not None else None)
        return [process for process in found if process is not None]

    def _take_up(self, task: Task, entries: list[Entry]) -> Ground:
        """The workload on the verifier and the control; the reference is timed. Processes that are
        not there yet start meanwhile."""
        with ThreadPoolExecutor(len(entries) + 1) as pool:
            starting = self.start(pool, entries)
            found = self._on_verifier(task)
            for future in starting:
                future.result()
        ground = self._make_ground(task, found)
        if self.settings.on_cuda:
            self._compile(entries, ground)
        self.freeze()  # what a solution has started while it was loaded waits, too
        return self._measure(ground)

    def start(self, pool: Executor, entries: list[Entry]) -> list[Future[Any]]:
        """Start the processes that are not there yet; they wait for the arena."""
        if self.opened_on is not self.evaluator.verifier and self.place.done():
            self.place = Future()
        control = pool.submit(self._start_control)
        return [control, *(pool.submit(entry.load, self) for entry in entries)]

    def _on_verifier(self, task: Task) -> dict[str, Any]:
        """Let the verifier take the workload up."""
        self.open()
        return self.evaluator.verifier.ask(
            "workload", axes=dict(task.workload.axes), seed=self.settings.seed,
            key=task.workload.uuid, given=given_inputs(self.evaluator.dataset, task.workload),
        )  # fmt: skip

    def _make_ground(self, task: Task, found: dict[str, Any]) -> Ground:
        """What entries meet."""
        slots, samples = self.slots_of[task.workload.uuid], self.tolerance["samples"]
        return Ground.of(found, slots, list(self.definition.inputs), samples=samples)

    def _measure(self, ground: Ground) -> Ground:
        """The control takes the workload up, the reference is timed. Nothing else runs."""
        ground.floor_ms = ground.work.floor_ms(self.evaluator.ceilings)
        control = self._start_control()
        try:
            control.begin(ground.workload)
        except (ControlFailedError, SolutionFailedError, ServiceError) as error:
            control.process.kill()
            self.control = None
            raise _of_the_control(error) from None
        ground.control = control
        ground.reference = self._time_reference()
        return ground

    def _without_paths(self, printed: str) -> str:
        """What a solution printed, without the paths of this machine's temporary folders."""
        return re.sub(rf"{re.escape(str(self.evaluator.folder))}/\d+/?", "", printed)

    def _start_control(self) -> Control:
        """The control, with its process."""
        if self.control is None:
            try:
                process, _, answer = start(self, reference_solution(self.definition), graph=False)
            except SolutionFailedError as error:
                raise _of_the_control(error) from None
            if answer["ok"] is not True:
                process.kill()
                raise FormatError(f"the reference does not load: {answer.get('error')}")
            self.control = Control(self.evaluator.verifier, process, on_cuda=self.settings.on_cuda)
        return self.control

    def _time_reference(self) -> dict[str, Any]:
        calls, seconds = self.settings.iterations, self.settings.max_seconds
        if self.control is not None and not self.settings.on_cuda:
            found = self.control.time_reference(warmup=2, iterations=calls, max_seconds=seconds / 3)
            return found.to_json()
        few = {"warmup": 2, "iterations": min(calls, REFERENCE_CALLS),
               "max_seconds": seconds / REFERENCE_PART}  # fmt: skip
        return self.evaluator.verifier.ask("time_reference", settings=few)


def _of_the_control(error: Exception) -> Exception:
    """The error; a failure of the control's process is none of a solution."""
    if isinstance(error, SolutionFailedError):
        return ControlFailedError(f"the control process failed: {error.message}")
    return error


def stop(sessions: list[Session]) -> None:
    """End some sessions' processes, all at once, and give their arenas back."""
    kill_all([process for session in sessions for process in session.processes()])
    for session in sessions:
        verifier, session.opened_on = session.opened_on, None
        if verifier is not None and not verifier.broken:
            with contextlib.suppress(ServiceError):
                verifier.ask("leave", name=session.name)
