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
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock import batches, timing
from kernelkit.bench.isolation.processes import SolutionFailedError, SolutionProcess, now_ms
from kernelkit.bench.isolation.service import Service
from kernelkit.bench.outcome import Outcome, RefusedError, answered, number
from kernelkit.bench.settings import Settings, later_limit
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    from kernelkit.bench.entry import Ground

# Judged in full, whatever the time it takes: the first timed calls of each trial, and of the others
# this share. Where a trial has few calls, a share alone would leave half of them by good luck.
FIRST_JUDGED, LEAST_JUDGED = 5, 0.25
MOST_DRAWS, DRAW_SECONDS = 400, 5.0
SPIN_MS, MOST_SPIN_MS, SPIN_FACTOR = 0.05, 5.0, 1.5


class Trial:
    """The state of one solution on one workload."""

    def __init__(
        self, verifier: Service, process: SolutionProcess, ground: Ground, solution: Solution,
        settings: Settings, setup: list[str] | None, *, rehearsed: bool = False,
    ) -> None:  # fmt: skip
        self.verifier, self.process, self.control = verifier, process, ground.control
        self.settings, self.ground, self.slots = settings, ground, ground.slots
        self.passing = solution.spec.destination_passing_style
        self.rehearsed = rehearsed  # the process has made a call on the workload
        self.setup = setup  # the inputs of the solution's setup function
        self.early: list[str] = []  # probes that come among the calls of the first batch
        self.late: list[str] = []  # probes that come between, or among, timed calls
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
            if not self._in_batches or self.stepwise or not self.rehearsed:
                self._first()  # what does not end must not do so behind the gate
            if self.ground.samples:
                for key in ["0/draws", *("probe/wide" for n in self.ground.probes if n == "wide")]:
                    self._draw(key)
            self._rehearse()
            made = batches.timed(self) if self._in_batches else self._by_calls()
            if self.ground.samples:
                self._accept(self.verifier.ask("judge_places"))
            self.outcome.timing = made
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
        """Probes and warm-up calls, in an order that nobody can know; some probes are kept back,
        to come between timed calls."""
        probes = [f"probe/{name}" for name in self.ground.probes]
        self.chance.shuffle(probes)
        half = len(probes) // 2
        self.late, keys = probes[:half], probes[half:]
        if self._in_batches and not self.stepwise:
            self.early = keys
            return
        if not self.settings.on_cuda:
            keys += [f"0/warm{number}" for number in range(self.settings.warmup - 1)]
            self.chance.shuffle(keys)
        deadline = time.monotonic() + self.settings.max_seconds
        for key in keys:
            if key.startswith("probe/"):
                self.call(f"probe {key[6:]!r}", key, full=True)
            elif time.monotonic() < deadline:
                self.call("warm-up", key, full=self._judge_next())

    def late_probe(self) -> None:
        """One of the probes that were kept back."""
        self.call("late probe", self.late.pop(), full=True)

    def _timed(self) -> list[list[float]]:
        """Samples in milliseconds, trial by trial, call by call."""
        trials: list[list[float]] = []
        share = self.settings.max_seconds / self.settings.trials
        for trial in range(self.settings.trials):
            samples: list[float] = []
            trials.append(samples)
            deadline = time.monotonic() + share
            while len(samples) < self.settings.iterations and not self._settled(samples):
                if self.late and self.chance.random() < 0.2:
                    self.late_probe()
                number = len(samples)
                what = f"timed call {number} of trial {trial}"
                full = number < FIRST_JUDGED or self._judge_next()
                samples.append(self.call(what, f"{trial}/{number}", full=full))
                if len(samples) >= 3 and time.monotonic() > deadline:
                    break
        while self.late:
            self.late_probe()
        return trials

    def _settled(self, samples: list[float]) -> bool:
        return timing.settled(samples, batches.METHOD if self.settings.on_cuda else "wall clock")

    def _judge_next(self) -> bool:
        """Whether to judge the next call in full: all while time allows, then a secret sample."""
        if self.judging < self.settings.verify_seconds:
            return True
        return self.chance.random() < LEAST_JUDGED

    def call(self, what: str, key: str, *, full: bool) -> float:
        """One call on fresh contents, then the verifier's look at it. Its milliseconds.

        Raises RefusedError, SolutionFailedError.
        """
        if self.setup is not None:  # it must not see the values that the call will see
            tables = self.verifier.ask("fill", keys=[key], tables_only=True)
            if tables["index_changed"] or not self.setups_ms:
                self._setup()
        self.verifier.ask("fill", keys=[key])
        sample = self._cuda_sample() if self.settings.on_cuda else self._cpu_sample()
        self.outcome.calls += 1
        self._check(what, full=full)
        return sample

    def _check(self, what: str, *, full: bool) -> None:
        start = time.monotonic()
        document = self.verifier.ask("check", full=full)
        if full:
            self.judging += time.monotonic() - start
            self.outcome.judged.append(document)
            self.outcome.verified += 1
        if document["status"] != Status.PASSED.value:
            if not full:
                self.outcome.judged.append(document)
            raise RefusedError({**document, "message": f"{what}: {document['message']}"})

    def _setup(self) -> None:
        answer = self.process.ask("setup", self.settings.timeout, names=self.setup)
        self.process.freeze()  # it must not see the values come, nor compute ahead of the call
        self.setups_ms.append(number(answered(answer), "setup_ms"))

    def _cpu_sample(self) -> float:
        """A call by the orchestrator's clock, less what a call of nothing takes. The process is
        frozen until the clock runs: what it did before would cost it nothing."""
        start = now_ms()
        answer = self.process.ask("call", self.limit, spin_ms=0, take=True)
        elapsed = now_ms() - start
        self.process.freeze()
        answered(answer)
        return self.control.net_ms(elapsed, copied=not self.passing)

    def _cuda_sample(self) -> float:
        spin_ms = 0.0 if self._in_batches else self.spin_ms
        said = self.process.ask("call", self.limit, spin_ms=spin_ms, take=True)
        if not self._in_batches:
            self.process.freeze()
        answer = answered(said)
        sample = number(answer, "event_ms")
        self.hosts_ms.append(number(answer, "host_ms"))
        recent = statistics.median(self.hosts_ms[-9:])
        self.spin_ms = min(MOST_SPIN_MS, SPIN_MS + SPIN_FACTOR * recent)
        return self.check_floor(sample)

    def _draw(self, key: str) -> None:
        """Many draws for one set of contents, judged by their frequencies."""
        deadline = time.monotonic() + DRAW_SECONDS
        for count in range(MOST_DRAWS):
            self.call(f"draw {count}", key, full=True)
            self.verifier.ask("collect")
            if time.monotonic() > deadline:
                break
        self._accept(self.verifier.ask("judge_draws"))

    def _accept(self, document: dict[str, Any]) -> None:
        """Note a judgement over many calls. Raises RefusedError."""
        self.outcome.judged.append(document)
        if document["status"] != Status.PASSED.value:
            raise RefusedError(document)

    @property
    def stepwise(self) -> bool:
        """Whether probes are calls by themselves: something is planned before each, or the op draws
        at random and many calls are judged together."""
        return self.setup is not None or self.ground.samples

    @property
    def _in_batches(self) -> bool:
        """Whether calls are timed in batches: on a GPU, unless only one fits."""
        return self.settings.on_cuda and self.slots >= batches.FEWEST

    def _by_calls(self) -> timing.Timing:
        """The timing of calls one by one."""
        on_cuda = self.settings.on_cuda
        return timing.summarize(
            self._timed(), "cuda events" if on_cuda else "wall clock",
            l2="cold" if on_cuda else "warm",
            host_overhead_ms=statistics.median(self.hosts_ms) if self.hosts_ms else None,
            setup_ms=self.setup_ms,
        )  # fmt: skip

    @property
    def setup_ms(self) -> float | None:
        """The median of the set-ups, where the solution has any."""
        return statistics.median(self.setups_ms) if self.setups_ms else None

    def check_floor(self, sample: float) -> float:
        """The sample. Raises SolutionFailedError where it is faster than light."""
        floor_ms = self.ground.floor_ms
        if sample < floor_ms:
            text = f"void: a call of {sample:.3g} ms; light needs {floor_ms:.3g} ms for its bytes"
            raise SolutionFailedError(Status.RUNTIME_ERROR, text)
        return sample
