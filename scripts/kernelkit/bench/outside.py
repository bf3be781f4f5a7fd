"""A solution's device time as another process sees it: what it claims cannot be less.

A batch of calls on distinct contents runs behind the verifier's gate, and every output of it is
taken at its end. The time of the same batch with calls of nothing (measured with the control
process) is subtracted. Where the claim is below what is left, that is what counts.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, Any

from kernelkit.bench.contents import PLANNED
from kernelkit.bench.processes import SolutionFailedError, SolutionProcess
from kernelkit.bench.timing import Timing
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    from kernelkit.bench.trial import Trial

ROUNDS = 3
QUEUE_SECONDS = 0.05  # a solution that waits for the device while it queues is let in then
LENIENCE, LENIENCE_MS = 0.10, 0.002  # of the claim; of a call: jitter of switching processes
JUDGED = 4  # calls of each batch


def audit(trial: Trial, claimed: Timing) -> Timing:
    """The timing that counts. Raises RefusedError, SolutionFailedError."""
    count = trial.slots
    if count < 2:
        return dataclasses.replace(claimed, extra={"outside_ms": None})
    if trial.setup is not None:  # one plan serves a whole batch
        trial.call("call before a batch", f"0/{PLANNED}", full=True)
    nothing_ms = _nothing(trial, count)
    _batch(trial, trial.process, count, "warm", nothing=False)
    rounds = [
        _batch(trial, trial.process, count, f"audit{number}", nothing=False)
        for number in range(ROUNDS)
    ]
    outside_ms = (min(rounds) - nothing_ms) / count
    facts = {"outside_ms": outside_ms}
    if claimed.median_ms >= outside_ms * (1 - LENIENCE) - LENIENCE_MS:
        return dataclasses.replace(claimed, extra=facts)
    trial.outcome.notes.append(
        f"note: claims {claimed.median_ms:.4g} ms; {outside_ms:.4g} ms, seen from outside, counts"
    )
    return dataclasses.replace(
        claimed, method="outside events", median_ms=outside_ms, p10_ms=min(rounds) / count,
        p90_ms=max(rounds) / count, extra=facts,
    )  # fmt: skip


def _nothing(trial: Trial, count: int) -> float:
    """The device time of a batch of nothing, from the control process."""
    known = trial.control.nothing_ms
    if count not in known:
        process = trial.control.process
        times = [_batch(trial, process, count, f"null{n}", nothing=True) for n in range(ROUNDS + 1)]
        known[count] = statistics.median(times[1:])
    return known[count]


def _batch(
    trial: Trial, process: SolutionProcess, count: int, name: str, *, nothing: bool
) -> float:
    """Run one batch; its device milliseconds."""
    from kernelkit.bench.trial import RefusedError, answered

    kind = PLANNED if trial.setup is not None else "free"
    keys = [f"0/{kind}/{name}/{number}" for number in range(count)]
    trial.verifier.ask("prepare_gate", slots=count, keys=keys)
    opened: list[bool] = []

    def open_gate() -> None:
        if not opened:
            opened.append(trial.verifier.ask("open_gate"))

    try:
        answer = process.ask_while("batch", trial.limit, open_gate, QUEUE_SECONDS, nothing=nothing)
    finally:
        open_gate()
    answered(answer)
    sample = [] if nothing else sorted(trial.chance.sample(range(count), min(JUDGED, count)))
    document: dict[str, Any] = trial.verifier.ask("close_gate", sample=sample, limit=trial.limit)
    if sample:
        trial.outcome.calls += count
        trial.outcome.judged.append(document)
        if document["status"] != Status.PASSED.value:
            text = f"batch of {count} calls, timed from outside: {document['message']}"
            raise RefusedError({**document, "message": text})
    elapsed = document["elapsed_ms"]
    if not elapsed > 0:
        raise SolutionFailedError(Status.RUNTIME_ERROR, "void: a batch that took no time")
    return float(elapsed)
