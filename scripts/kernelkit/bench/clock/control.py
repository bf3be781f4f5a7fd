"""Controls: an honest process and a wrong answer, before and after each entry.

The control process runs the definition's own reference, through the same channel, arena and
verifier as every solution. If it no longer passes after an entry, or has become much slower, or if
an unwritten output is no longer refused, the entry has changed the ground it was measured on and
is void. Being trusted, the process also measures what a call of nothing costs.
"""

from __future__ import annotations

import math
import time
from typing import Any

from kernelkit.bench.isolation.processes import (
    Service,
    SolutionFailedError,
    SolutionProcess,
    now_ms,
)
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

    def begin(self, slots: list[dict[str, Any]], scalars: dict[str, Any], order: list[str]) -> None:
        """Take up a workload: measure the cost of nothing, and the honest latency."""
        self.process.ask("workload", LIMIT, slots=slots, scalars=scalars, order=order)
        self.copies_ms = None
        if not self.on_cuda:
            self.roundtrip_ms = self._least("call", spin_ms=0, take=False, nothing=True)
            self.copy_ms = max(0.0, self._least("rehearse_copies") - self.roundtrip_ms)
        self.honest_ms = min(self._honest() for _ in range(CALLS))

    def verify(self) -> None:
        """Hold the controls against `begin`. Raises ControlFailedError."""
        for attempt in range(RETRIES):
            fastest = min(self._honest() for _ in range(CALLS if attempt else 1))
            if fastest < self._bound_ms():
                break
            time.sleep(PAUSE_SECONDS * (attempt + 1))
        else:
            raise ControlFailedError(
                f"the honest control takes {fastest:.3g} ms, before it took {self.honest_ms:.3g} ms"
            )
        self.verifier.ask("fill", keys=[KEY])
        self._ask("call", spin_ms=0, take=True, nothing=True)
        if self._check()["status"] == Status.PASSED.value:
            raise ControlFailedError("an output that was never written is accepted")

    def _honest(self) -> float:
        """One call of the reference, checked; its milliseconds."""
        self.verifier.ask("fill", keys=[KEY])
        start = now_ms()
        answer = self._ask("call", spin_ms=0.0, take=True)
        elapsed = now_ms() - start
        document = self._check()
        if document["status"] != Status.PASSED.value:
            raise ControlFailedError(f"the honest control is refused: {document['message']}")
        return float(answer["event_ms"]) if self.on_cuda else elapsed

    def _check(self) -> dict[str, Any]:
        return self.verifier.ask("check")

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
        """The least milliseconds of some requests, as the orchestrator sees them."""
        least, deadline = math.inf, time.monotonic() + REHEARSAL_SECONDS
        for _ in range(ROUNDS):
            start = now_ms()
            self._ask(do, **arguments)
            least = min(least, now_ms() - start)
            if time.monotonic() > deadline:
                break
        return least
