"""A solution in the course of its definition's workloads: its process, and its verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock.control import Control, ControlFailedError
from kernelkit.bench.isolation import caches
from kernelkit.bench.isolation.processes import SolutionFailedError, SolutionProcess
from kernelkit.bench.isolation.service import ServiceError
from kernelkit.bench.limits.cost import Work
from kernelkit.bench.outcome import Outcome
from kernelkit.bench.trial import Trial
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    from kernelkit.bench.session import Session

MOST_TIMEOUTS = 2  # after so many in a row, a solution's other workloads are not tried
ERROR_CHARACTERS = 4000
NO_SETUP = "it may take index tensors and scalars of the definition only"


@dataclass
class Ground:
    """A workload that is taken up: what every entry on it meets."""

    slots: int  # how many calls may be in a batch
    workload: dict[str, Any]  # what a process must know of it: layout, count, scalars, order
    plannable: set[str]  # inputs that a setup function may take
    probes: list[str]
    work: Work
    samples: bool  # the op draws at random
    floor_ms: float = 0.0  # no call is faster
    control: Control = field(init=False)  # set before the first entry meets it
    reference: dict[str, Any] = field(default_factory=dict)  # its timing

    @classmethod
    def of(cls, found: dict[str, Any], slots: int, order: list[str], *, samples: bool) -> Ground:
        """From what the verifier has found; `order`: the definition's inputs."""
        told = {"layout": found["layout"], "count": slots, "scalars": found["scalars"],
                "order": order}  # fmt: skip
        plannable = {*found["integers"], *found["scalars"]}
        plannable = plannable if plannable < set(order) else set()  # it would be all of the work
        work = Work(**found["work"])
        return cls(slots, told, plannable, found["probes"], work, samples)


@dataclass
class Entry:
    """One solution."""

    solution: Solution
    process: SolutionProcess | None = None
    isolation: list[str] = field(default_factory=list)
    setup: list[str] | None = None  # the inputs that its setup function takes
    printed: str = ""
    timeouts: int = 0
    ground: Ground | None = None  # what its process has taken up
    hangs: bool = False  # a call ahead did not end
    rehearsed: Ground | None = None  # where its process has made a call ahead
    final: Outcome | None = None  # a verdict for all workloads to come
    passed: bool = False  # on the last workload

    def end(self) -> int:
        """End its process; how many processes it had left."""
        process, self.process, self.ground, self.rehearsed = self.process, None, None, None
        return process.kill()["leftovers"] if process is not None else 0

    def keep_builds(self, session: Session) -> None:
        """Keep what a solution that passes has compiled until now, for later runs."""
        if self.passed:
            caches.keep(self.solution, self.process, session.settings)

    def evaluate(self, session: Session, ground: Ground) -> Outcome:
        """What comes of it on the workload in hand."""
        self.printed = self.process.printed.text() if self.process is not None else ""
        if self.final is not None:
            self.end()
            return self.final
        try:
            outcome = self._trial(session, ground)
            outcome = self._hold_against_control(ground, outcome)
        except ServiceError as error:
            text = f"void: during this entry the verifier failed: {error}"
            outcome = Outcome(Status.RUNTIME_ERROR, text, shaken=True)
        if self.process is not None:
            self.printed = self.process.printed.text()
        self._draw_consequences(session, outcome)
        return outcome

    def _draw_consequences(self, session: Session, outcome: Outcome) -> None:
        """End a process that has failed; give a solution up that hangs again and again."""
        if outcome.status is Status.PASSED:
            self.timeouts = 0
            if not self.passed:
                self.passed = True
                self.keep_builds(session)
            return
        self.passed = False
        left = self.end()
        if left:
            outcome.notes.append(f"note: {left} processes of it were left, and killed")
        self.timeouts += outcome.status is Status.TIMEOUT
        if self.timeouts >= MOST_TIMEOUTS and self.final is None:
            text = f"not started: it timed out on {self.timeouts} workloads in a row before"
            self.final = Outcome(Status.TIMEOUT, text)

    def _hold_against_control(self, ground: Ground, outcome: Outcome) -> Outcome:
        """The outcome, or a void one where the controls have changed."""
        if self.process is None or outcome.shaken:
            return outcome
        self.process.freeze()
        try:
            ground.control.verify()
        except ControlFailedError as error:
            text = f"void: after this entry, {error}"
            return Outcome(Status.RUNTIME_ERROR, text, shaken=True)
        return outcome

    def load(self, session: Session) -> Outcome | None:
        """Start and load the solution, if that is still to be done; the verdict where it fails."""
        if self.process is None and self.final is None:
            try:
                return self._load(session)
            except SolutionFailedError as error:
                late = error.status is Status.TIMEOUT
                status = Status.TIMEOUT if late else Status.COMPILE_ERROR
                self.final = Outcome(status, f"while loading: {error.message}")
        return self.final

    def compile(self, session: Session, ground: Ground) -> None:
        """One call ahead of all timing, beside those of others. No verdict comes of it: a failure
        shows again in its place, alone. After a call that did not end there are no more ahead."""
        if self.process is None or self.hangs:
            return
        try:
            self._take_up(session, ground)
            answer = self.process.ask("rehearse_call", session.settings.timeout)
            self.rehearsed = ground if answer == {"ok": True} else None
        except SolutionFailedError as error:
            self.hangs = error.status is Status.TIMEOUT
            self.end()

    def _take_up(self, session: Session, ground: Ground) -> None:
        assert self.process is not None
        if self.ground is not ground:
            self.process.ask("workload", session.settings.timeout, **ground.workload)
            self.ground = ground

    def _trial(self, session: Session, ground: Ground) -> Outcome:
        try:
            if failed := self.load(session):
                return failed
            self._take_up(session, ground)
        except SolutionFailedError as error:
            return Outcome(error.status, error.message)
        verifier, process = session.evaluator.verifier, self.process
        assert process is not None
        declared = self.setup is not None and ground.plannable.issuperset(self.setup)
        outcome = Trial(
            verifier, process, ground, self.solution, session.settings,
            self.setup if declared else None, rehearsed=self.rehearsed is ground,
        ).run()  # fmt: skip
        if self.setup is not None and not declared:
            outcome.notes.append(f"note: setup({', '.join(self.setup)}) is not called: {NO_SETUP}")
        return outcome

    def _load(self, session: Session) -> Outcome | None:
        self.ground = self.rehearsed = None
        self.process, self.isolation, answer = start(
            session, self.solution, graph=session.settings.cuda_graph
        )
        if answer["ok"] is not True:
            text = str(answer.get("error", "no reason given"))[:ERROR_CHARACTERS]
            self.final = Outcome(Status.COMPILE_ERROR, text)
            return self.final
        names = answer.get("setup")
        self.setup = [str(name) for name in names] if isinstance(names, list) else None
        return None


def start(
    session: Session, solution: Solution, *, graph: bool
) -> tuple[SolutionProcess, list[str], dict[str, Any]]:
    """A new process with the solution loaded: it, what holds it in, its answer.

    `graph`: its calls become a CUDA graph that is replayed.

    Raises SolutionFailedError, with the process ended, and ServiceError.
    """
    settings, evaluator = session.settings, session.evaluator
    process = evaluator.nursery.fork({
        "device": settings.device, "file_mb": settings.file_mb, "cuda_graph": graph,
    })  # fmt: skip
    try:
        with evaluator.opening:  # who is in early can go on while others wait for the driver
            process.ask("warm", settings.timeout)
        arena = session.arena()
        isolation = process.ask("start", settings.timeout, **arena)
        if not isinstance(isolation, list):
            raise ServiceError(f"a solution's process did not start: {isolation}")
        try:
            process.write_sources([(source.path, source.content) for source in solution.sources])
        except (OSError, ValueError) as error:
            text = f"its files cannot be written: {getattr(error, 'strerror', None) or error}"
            raise SolutionFailedError(Status.COMPILE_ERROR, text) from None
        caches.bring(solution, process, settings)
        answer = process.ask("load", settings.timeout, spec=solution.spec.to_json())
        if not isinstance(answer, dict) or "ok" not in answer:
            raise SolutionFailedError(Status.RUNTIME_ERROR, "spoke out of turn while loading")
    except BaseException:
        process.kill()
        raise
    return process, isolation, answer
