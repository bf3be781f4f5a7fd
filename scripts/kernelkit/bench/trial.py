"""One solution on one workload: verified calls, timed calls, and what came of them.

Every call, timed or not, sees contents that no call has seen before, and writes over poison. On a
CPU the clock is the orchestrator's: from its request to the answer, at which the process is frozen
and looked at. On a GPU the process times itself by events of the device, and a batch of calls
behind a gate (`gate.py`) shows from outside whether that can be true.
"""

from __future__ import annotations

import random
import secrets
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit.bench import timing
from kernelkit.bench.processes import Service, SolutionFailedError, SolutionProcess, now_ms
from kernelkit.bench.settings import Settings, later_limit
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    from kernelkit.bench.entry import Ground

LEAST_JUDGED = 0.25  # of the calls are judged in full, whatever the time it takes
CLOCK_MS = 1e-3  # of the orchestrator's clock: no CPU sample is below it
MOST_DRAWS, DRAW_SECONDS = 400, 5.0
SPIN_MS, MOST_SPIN_MS, SPIN_FACTOR = 0.05, 5.0, 1.5


class RefusedError(Exception):
    """A call was judged wrong: the verifier's document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        super().__init__(document["message"])


@dataclass
class Outcome:
    """What a trial came to."""

    status: Status = Status.PASSED
    message: str = ""
    judged: list[dict[str, Any]] = field(default_factory=list)  # the verifier's documents
    calls: int = 0
    timing: timing.Timing | None = None
    notes: list[str] = field(default_factory=list)
    shaken: bool = False  # the ground it was measured on has changed


class Trial:
    """The state of one solution on one workload."""

    def __init__(
        self, verifier: Service, process: SolutionProcess, ground: Ground, solution: Solution,
        settings: Settings, setup: list[str] | None,
    ) -> None:  # fmt: skip
        assert ground.control is not None
        self.verifier, self.process, self.control = verifier, process, ground.control
        self.settings, self.ground, self.slots = settings, ground, len(ground.slots)
        self.passing = solution.spec.destination_passing_style
        self.setup = setup  # the inputs of the solution's setup function
        self.late: list[str] = []  # probes that come between timed calls
        self.outcome = Outcome()
        self.limit = settings.timeout
        self.spin_ms = SPIN_MS
        self.hosts_ms: list[float] = []
        self.setups_ms: list[float] = []
        self.judging = 0.0  # seconds spent on full judgements
        self.chance = random.Random(secrets.randbits(64))  # seeded by the system

    def run(self) -> Outcome:
        """All calls, in order. Failures become the outcome's status."""
        try:
            self._first()
            if self.ground.samples:
                for key in ["0/draws", *("probe/wide" for n in self.ground.probes if n == "wide")]:
                    self._draw(key)
            self._rehearse()
            samples = self._timed()
            self.outcome.timing = self._summary(samples)
        except RefusedError as refused:
            self.outcome.status = Status(refused.document["status"])
            self.outcome.message = str(refused)
        except SolutionFailedError as failed:
            self.outcome.status, self.outcome.message = failed.status, failed.message
        return self.outcome

    def _first(self) -> None:
        start = time.monotonic()
        self.call("first call", "0/first", full=True)
        self.limit = later_limit(self.settings, time.monotonic() - start)

    def _rehearse(self) -> None:
        """Probes and warm-up calls, in an order that nobody can know."""
        keys = [f"probe/{name}" for name in self.ground.probes]
        keys += [f"0/warm{number}" for number in range(self.settings.warmup - 1)]
        self.chance.shuffle(keys)
        late = keys[: len(self.ground.probes) // 2]  # these come between timed calls
        self.late = [key for key in late if key.startswith("probe/")]
        deadline = time.monotonic() + self.settings.max_seconds
        for key in keys:
            if key in self.late or (time.monotonic() > deadline and key.startswith("0/")):
                continue
            what = f"probe {key[6:]!r}" if key.startswith("probe/") else "warm-up"
            self.call(what, key, full=key.startswith("probe/") or self._judge_next())

    def _timed(self) -> list[list[float]]:
        """Samples in milliseconds, trial by trial."""
        trials: list[list[float]] = []
        share = self.settings.max_seconds / self.settings.trials
        for trial in range(self.settings.trials):
            samples: list[float] = []
            trials.append(samples)
            deadline = time.monotonic() + share
            while len(samples) < self.settings.iterations and not timing.settled(samples):
                if self.late and self.chance.random() < 0.2:
                    self.call("late probe", self.late.pop(), full=True)
                number = len(samples)
                samples.append(
                    self.call(
                        f"timed call {number} of trial {trial}", f"{trial}/{number}",
                        full=self._judge_next(),
                    )
                )  # fmt: skip
                if len(samples) >= 3 and time.monotonic() > deadline:
                    break
        for key in self.late:
            self.call("late probe", key, full=True)
        return trials

    def _judge_next(self) -> bool:
        """Whether to judge the next call in full: all while time allows, then a secret sample."""
        if self.judging < self.settings.verify_seconds:
            return True
        return self.chance.random() < LEAST_JUDGED

    def call(self, what: str, key: str, *, full: bool) -> float:
        """One call on fresh contents, then the verifier's look at it. Its milliseconds.

        Raises RefusedError, SolutionFailedError.
        """
        filled = self.verifier.ask("fill", key=key)
        if self.setup is not None and (filled["index_changed"] or not self.setups_ms):
            self._setup()
        sample = self._cuda_sample() if self.settings.on_cuda else self._cpu_sample()
        self.outcome.calls += 1
        self._check(what, full=full)
        return sample

    def _check(self, what: str, *, full: bool) -> None:
        start = time.monotonic()
        document = self.verifier.ask("check", full=full, passing=self.passing)
        if full:
            self.judging += time.monotonic() - start
            self.outcome.judged.append(document)
        if document["status"] != Status.PASSED.value:
            if not full:
                self.outcome.judged.append(document)
            raise RefusedError({**document, "message": f"{what}: {document['message']}"})

    def _setup(self) -> None:
        answer = self.process.ask("setup", self.settings.timeout, names=self.setup)
        self.setups_ms.append(_number(answered(answer), "setup_ms"))

    def _cpu_sample(self) -> float:
        """A call by the orchestrator's clock, less what a call of nothing takes."""
        self.process.thaw()
        start = now_ms()
        answer = self.process.ask("call", self.limit, spin_ms=0, take=True)
        elapsed = now_ms() - start
        self.process.freeze()
        answered(answer)
        overhead = self.control.roundtrip_ms + (0 if self.passing else self.control.copy_ms)
        return max(elapsed - overhead, CLOCK_MS)

    def _cuda_sample(self) -> float:
        answer = answered(self.process.ask("call", self.limit, spin_ms=self.spin_ms, take=True))
        sample = _number(answer, "event_ms")
        self.hosts_ms.append(_number(answer, "host_ms"))
        recent = statistics.median(self.hosts_ms[-9:])
        self.spin_ms = min(MOST_SPIN_MS, SPIN_MS + SPIN_FACTOR * recent)
        floor_ms = self.ground.floor_ms
        if sample < floor_ms:
            text = f"void: a call of {sample:.3g} ms; light needs {floor_ms:.3g} ms for its bytes"
            raise SolutionFailedError(Status.RUNTIME_ERROR, text)
        return sample

    def _draw(self, key: str) -> None:
        """Many draws for one set of contents, judged by their frequencies."""
        deadline = time.monotonic() + DRAW_SECONDS
        for count in range(MOST_DRAWS):
            self.call(f"draw {count}", key, full=True)
            self.verifier.ask("collect")
            if time.monotonic() > deadline:
                break
        document = self.verifier.ask("judge_draws")
        self.outcome.judged.append(document)
        if document["status"] != Status.PASSED.value:
            raise RefusedError(document)

    def _summary(self, samples: list[list[float]]) -> timing.Timing:
        """The timing; on a GPU no better than the clock outside allows."""
        method, facts = "wall clock", {"l2": "warm"}
        if self.settings.on_cuda:
            method, facts = "cuda events", {"l2": "cold"}
        made = timing.summarize(
            samples, method, **facts,
            host_overhead_ms=statistics.median(self.hosts_ms) if self.hosts_ms else None,
            setup_ms=statistics.median(self.setups_ms) if self.setups_ms else None,
        )  # fmt: skip
        if self.settings.on_cuda and self.settings.outside:
            from kernelkit.bench.outside import audit

            return audit(self, made)
        return made


def answered(answer: object) -> dict[str, Any]:
    """The answer of a call that went well. Raises SolutionFailedError."""
    if not isinstance(answer, dict):
        raise SolutionFailedError(Status.RUNTIME_ERROR, "an answer of no known form")
    if answer.get("ok") is True:
        return answer
    status = Status.RUNTIME_ERROR
    if answer.get("status") in (Status.INCORRECT_SHAPE.value, Status.INCORRECT_DTYPE.value):
        status = Status(answer["status"])
    raise SolutionFailedError(status, str(answer.get("error", "no reason given"))[:4000])


def _number(answer: dict[str, Any], name: str) -> float:
    """A time that the process claims. Raises SolutionFailedError for what cannot be one."""
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not timing.sound(value):
        text = f"void: {name} is {value!r}, no time"
        raise SolutionFailedError(Status.RUNTIME_ERROR, text)
    return float(value)
