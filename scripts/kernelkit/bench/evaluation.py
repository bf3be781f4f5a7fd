"""Evaluate the solutions of a dataset, definition by definition, and write each trace at once."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from kernelkit.bench.entry import Entry
from kernelkit.bench.isolation.nursery import Nursery
from kernelkit.bench.isolation.service import Service, ServiceError
from kernelkit.bench.limits import ceilings
from kernelkit.bench.selection import Plan, Task
from kernelkit.bench.session import Session, stop
from kernelkit.bench.settings import Settings
from kernelkit.bench.tools import foreign
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.errors import KernelkitError

OPENING = 4  # processes that open the GPU at once: the driver lets in one at a time
TOGETHER = 8  # solutions of a session, whose processes live at the same time
MOST_PROCESSES, MOST_SESSIONS = 16, 4  # of a wave
VERIFIER_SECONDS = 60.0  # beyond a call's own limit, for the reference and the comparison

Results = Generator[Trace | str, None, None]
Evaluate = Callable[[Plan], Results]


def run_plan(
    dataset: Dataset, plan: Plan, settings: Settings, target: Dataset, name: str = "kernelkit"
) -> Results:
    """Run every pair with the engine of that name; its trace is appended to `target` before it is
    yielded. A str tells why a workload or a definition gave none. Raises KernelkitError where a
    trace cannot be written."""
    with engine(name, dataset, settings) as evaluate:
        yield from written(evaluate(plan), plan, target)


def written(results: Results, plan: Plan, target: Dataset) -> Results:
    """The results, each trace appended to `target` first. Raises KernelkitError."""
    definitions = {task.definition.name: task.definition for task in plan.tasks}
    with contextlib.closing(results):  # at once: processes stand behind it
        for found in results:
            if isinstance(found, Trace):
                _write(target, definitions[found.definition], found)
            yield found


def _write(target: Dataset, definition: Definition, trace: Trace) -> None:
    try:
        target.append_traces(definition, [trace])
    except OSError as error:
        raise KernelkitError(
            "a trace cannot be written; those before it are",
            received=f"{target.trace_path(definition)}: {error.strerror or error}",
            next_step="make room, then the same command with --resume",
        ) from None


@contextlib.contextmanager
def engine(name: str, dataset: Dataset, settings: Settings) -> Iterator[Evaluate]:
    """What evaluates on a device: kernelkit, with processes that are kept from plan to plan, or
    flashinfer-bench."""
    if name != "kernelkit":
        yield lambda plan: foreign.run(dataset, plan, settings)
        return
    with tempfile.TemporaryDirectory(prefix="kernelkit-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)  # a solution's own user must reach its folder below
        evaluator = Evaluator(dataset, settings, Path(folder))
        try:
            yield lambda plan: evaluator.definitions(by_definition(plan))
        finally:
            evaluator.stop()


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
        self.sessions = 0
        self.opening = threading.Semaphore(OPENING)
        self.starts_ahead = settings.on_cuda  # where starting and compiling take their time
        self.start_verifier()

    def start_verifier(self) -> None:
        """The verifier, on its device. What it says of it is read when it is asked for."""
        self.verifier = Service("kernelkit.bench.judge.verifier", self.folder / "verifier.log")
        self.verifier.begin("start", device=self.settings.device)
        self._machine: dict[str, Any] | None = None

    @property
    def machine(self) -> dict[str, Any]:
        """The device, as the verifier says; to be asked for before anything else of it."""
        if self._machine is None:
            self._machine = self.verifier.finish()
            self.verifier.limit = self.settings.timeout + VERIFIER_SECONDS
        assert self._machine is not None
        return self._machine

    @property
    def ceilings(self) -> ceilings.Ceilings | None:
        """The device's: those that are kept; a GPU's are measured otherwise, so that nothing else
        may run on it where they are asked for."""
        if self.machine["ceilings"] is None and self.settings.on_cuda:
            self.machine["ceilings"] = self.verifier.ask("measure")
        known = self.machine["ceilings"]
        return ceilings.from_json(known) if known else None

    def replace_verifier(self) -> None:
        """A new verifier for one that has died or does not answer."""
        self.verifier.stop()
        self.start_verifier()

    def stop(self) -> None:
        """End all processes."""
        with ThreadPoolExecutor(2) as pool:
            wait([pool.submit(self.nursery.stop), pool.submit(self.verifier.stop)])

    def definition(self, definition: Definition, tasks: list[Task]) -> Iterator[Trace | str]:
        """All pairs of one definition; a str where something other than a solution is at fault."""
        return self.definitions([(definition, tasks)])

    def definitions(self, parts: Iterable[tuple[Definition, list[Task]]]) -> Results:
        """All pairs of some definitions, in waves: what is in a wave starts and compiles at once,
        before the first timing, and waits frozen for its turn."""
        for wave in waves(parts):
            sessions = [self._session(*part, share=1 / len(wave)) for part in wave]
            try:
                yield from self._wave(sessions)
            finally:
                stop(sessions)

    def _session(
        self, definition: Definition, tasks: list[Task], solutions: list[Solution], share: float
    ) -> Session:
        self.sessions += 1
        entries = [Entry(solution) for solution in solutions]
        return Session(self, definition, tasks, entries, f"station {self.sessions}", share)

    def _wave(self, sessions: list[Session]) -> Iterator[Trace | str]:
        together = self.starts_ahead and len(sessions) > 1 and self._ahead(sessions)
        for session in sessions:
            try:
                yield from session.run()
            except ServiceError as error:
                yield f"{session.definition.name}: {error}"
                if self.verifier.broken:
                    self.replace_verifier()
            finally:
                if not together:
                    stop([session])

    def _ahead(self, sessions: list[Session]) -> bool:
        """Start all processes of a wave at once, and let each make a call; whether all went well.
        What did not is done again, and its failure told, in its turn."""
        failed: list[Session] = []
        with ThreadPoolExecutor(MOST_PROCESSES + len(sessions)) as pool:
            starting = [(s, s.bring_up(pool)) for s in sessions]
            try:
                failed += [session for session in sessions if not session.take_first()]
            except BaseException as error:  # let no process wait for an arena that never comes
                for session in sessions:
                    session.give_up(error)
                raise
            self._expect(sessions[0], [future for _, futures in starting for future in futures])
            for session, futures in starting:
                if any([future.exception() is not None for future in futures]):
                    failed.append(session)
        for session in sessions:
            session.freeze()
        return not failed

    def _expect(self, session: Session, starting: list[Future[Any]]) -> None:
        """Make what the first session will need while processes start. What goes wrong there is
        met again, and told, in its turn."""
        if session.taken is not None:
            with contextlib.suppress(ServiceError):
                session.open()
                session.expect(session.taken[1], starting)


def waves(
    parts: Iterable[tuple[Definition, list[Task]]],
) -> Iterator[list[tuple[Definition, list[Task], list[Solution]]]]:
    """Sessions whose processes may live at the same time: definitions, with some solutions each."""
    wave: list[tuple[Definition, list[Task], list[Solution]]] = []
    living = 0
    for definition, tasks in parts:
        solutions = list({s.name: s for task in tasks for s in task.solutions}.values())
        for first in range(0, len(solutions), TOGETHER):
            some = solutions[first : first + TOGETHER]
            processes = len(some) + 1  # and a control
            if wave and (living + processes > MOST_PROCESSES or len(wave) == MOST_SESSIONS):
                yield wave
                wave, living = [], 0
            wave.append((definition, tasks, some))
            living += processes
    if wave:
        yield wave
