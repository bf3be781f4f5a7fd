"""Controls: an honest process and a wrong answer, before and after each entry.

The control process runs the definition's own reference, through the same channel, arena and
verifier as every solution. If it no longer passes after an entry, or has become much slower, or if
an unwritten output is no longer refused, the entry has changed the ground it was measured on and
is void. Being trusted, the process also measures what a call of nothing costs.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

from kernelkit.bench.clock import timing
from kernelkit.bench.isolation.processes import SolutionFailedError, SolutionProcess, now_ms
from kernelkit.bench.isolation.service import Service
from kernelkit.dataset.trace import Status

ROUNDS, CALLS = 20, 3
REHEARSAL_SECONDS = 0.3
# A control is slower if by both of these, again and again. A CPU's cores are everybody's.
SLOWER, SLOWER_BY_MS = 2.0, 2.0
SLOWER_ON_CPU, SLOWER_BY_MS_ON_CPU = 5.0, 50.0
RETRIES, PAUSE_SECONDS = 6, 0.25
LIMIT = 300.0
KEY = "0/control"


class ControlFailedError(Exception):
    """The controls do not hold any more."""


class Control:
    """The control of one definition; `begin` once for each workload."""

    def __init__(self, verifier: Service, process: SolutionProcess, *, on_cuda: bool) -> None:
        self.verifier, self.process, self.on_cuda = verifier, process, on_cuda
        self.roundtrip_ms = self.copy_ms = self.honest_ms = 0.0
        self.nothing_ms: dict[int, float] = {}  # device time of a batch of nothing, by its size
        self.copies_ms: float | None = None  # of copying the outputs of one call
        self.calls = 0  # of the reference, to be timed
        self.slots = 1

    def begin(self, workload: dict[str, Any]) -> None:
        """Take up a workload: measure the cost of nothing, and the honest latency."""
        self.process.ask("workload", LIMIT, **workload)
        self.copies_ms, self.slots = None, int(workload["count"])
        if not self.on_cuda:
            self.roundtrip_ms = self._least("call", spin_ms=0, take=False, nothing=True)
            self.copy_ms = max(0.0, self._least("rehearse_copies") - self.roundtrip_ms)
        self.honest_ms = self._honest(CALLS)

    def rehearse(self, workload: dict[str, Any]) -> None:
        """A call ahead of all timing, so that what it needs is loaded. A failure shows again."""
        with contextlib.suppress(SolutionFailedError):
            self.process.ask("workload", LIMIT, **workload)
            self.process.ask("rehearse_call", LIMIT)

    def time_reference(self, **settings: Any) -> timing.Timing:
        """The reference by the clock that solutions are timed by (CPU): same process, same wake-up,
        so that a solution with the reference's code is as fast as the reference."""
        try:
            return timing.measure(self._woken, "wall clock", l2="warm", **settings)
        finally:
            self.process.thaw()

    def _woken(self) -> float:
        """Milliseconds of a call on fresh contents by the process, frozen before and after."""
        self.calls += 1
        self.verifier.ask("fill", keys=[f"0/reference/{self.calls}"])
        start = now_ms()
        self._ask("call", spin_ms=0.0, take=True)
        elapsed = now_ms() - start
        self.process.freeze()
        return self.net_ms(elapsed, copied=True)

    def net_ms(self, elapsed_ms: float, *, copied: bool) -> float:
        """Milliseconds of a call on a CPU without the cost of asking for it and of copying what it
        returns. A call that took less than these shows that a busy machine made them look larger
        than they are: they are lowered to it."""
        if elapsed_ms < self.roundtrip_ms + (self.copy_ms if copied else 0.0):
            self.roundtrip_ms = min(self.roundtrip_ms, elapsed_ms)
            self.copy_ms = min(self.copy_ms, elapsed_ms - self.roundtrip_ms)
        overhead_ms = self.roundtrip_ms + (self.copy_ms if copied else 0.0)
        return max(elapsed_ms - overhead_ms, timing.CLOCK_MS)

    def verify(self) -> None:
        """Hold the controls against `begin`. Raises ControlFailedError."""
        for attempt in range(RETRIES):
            both = not attempt and self.slots > 1
            fastest = self._both() if both else self._honest(CALLS if attempt else 1)
            if fastest < self._bound_ms():
                break
            time.sleep(PAUSE_SECONDS * (attempt + 1))
        else:
            raise ControlFailedError(
                f"the honest control takes {fastest:.3g} ms, before it took {self.honest_ms:.3g} ms"
            )
        if self.slots > 1:  # `_both` has looked at it
            return
        self.verifier.ask("fill", keys=[KEY])
        self._ask("call", spin_ms=0, take=True, nothing=True)
        _must_fail(self.verifier.ask("check"))

    def _both(self) -> float:
        """Both controls at once: a call on the first of two slots, none on the second."""
        self.verifier.ask("fill", keys=[KEY, KEY])
        elapsed = self._call()
        honest, unwritten = self.verifier.ask("check_each")
        _must_pass(honest)
        _must_fail(unwritten)
        return elapsed

    def _honest(self, calls: int) -> float:
        """Some calls of the reference, the first of them checked; the least milliseconds."""
        self.verifier.ask("fill", keys=[KEY])
        first = self._call()
        _must_pass(self.verifier.ask("check"))
        return min([first, *(self._call() for _ in range(calls - 1))])

    def _call(self) -> float:
        """One call of the reference; its milliseconds."""
        start = now_ms()
        answer = self._ask("call", spin_ms=0.0, take=True)
        return float(answer["event_ms"]) if self.on_cuda else now_ms() - start

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self.process.ask(do, LIMIT, **arguments)
        except SolutionFailedError as failed:
            raise ControlFailedError(f"the control process failed: {failed.message}") from None
        if not answer.get("ok"):
            raise ControlFailedError(f"the honest control failed: {answer.get('error')}")
        return answer

    def _bound_ms(self) -> float:
        """What the honest control may take."""
        factor, extra_ms = SLOWER, SLOWER_BY_MS
        if not self.on_cuda:
            factor, extra_ms = SLOWER_ON_CPU, SLOWER_BY_MS_ON_CPU
        return max(factor * self.honest_ms, self.honest_ms + extra_ms)

    def _least(self, do: str, **arguments: Any) -> float:
        """The least milliseconds of some requests to the frozen process, as the orchestrator sees
        them."""
        least, deadline = math.inf, time.monotonic() + REHEARSAL_SECONDS
        for _ in range(ROUNDS):
            self.process.freeze()
            start = now_ms()
            self._ask(do, **arguments)
            least = min(least, now_ms() - start)
            if time.monotonic() > deadline:
                break
        return least


def _must_pass(document: dict[str, Any]) -> None:
    if document["status"] != Status.PASSED.value:
        raise ControlFailedError(f"the honest control is refused: {document['message']}")


def _must_fail(document: dict[str, Any]) -> None:
    if document["status"] == Status.PASSED.value:
        raise ControlFailedError("an output that was never written is accepted")
