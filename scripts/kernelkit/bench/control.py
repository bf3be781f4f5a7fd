"""Controls: an honest process and a wrong answer, before and after each entry.

The control process runs the definition's own reference, through the same channel, arena and
verifier as every solution. If it no longer passes after an entry, or has become much slower, or if
an unwritten output is no longer refused, the entry has changed the ground it was measured on and
is void. Being trusted, the process also measures what a call of nothing costs.
"""

from __future__ import annotations

import time
from typing import Any

from kernelkit.bench.processes import Service, SolutionFailedError, SolutionProcess, now_ms
from kernelkit.dataset.trace import Status

ROUNDS, CALLS = 20, 3
SLOWER, SLOWER_BY_MS = 2.0, 2.0  # a control is slower if by both of these
RETRIES, PAUSE_SECONDS = 4, 0.25
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
            calls = [self._wall("call", spin_ms=0, take=False, nothing=True) for _ in range(ROUNDS)]
            copies = [self._wall("rehearse_copies") for _ in range(CALLS)]
            self.roundtrip_ms = min(calls)
            self.copy_ms = max(0.0, min(copies) - self.roundtrip_ms)
        self.honest_ms = min(self._honest() for _ in range(CALLS))

    def verify(self) -> None:
        """Hold the controls against `begin`. Raises ControlFailedError."""
        for attempt in range(RETRIES):
            fastest = min(self._honest() for _ in range(CALLS if attempt else 1))
            if fastest < max(SLOWER * self.honest_ms, self.honest_ms + SLOWER_BY_MS):
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

    def _wall(self, do: str, **arguments: Any) -> float:
        start = now_ms()
        self._ask(do, **arguments)
        return now_ms() - start
