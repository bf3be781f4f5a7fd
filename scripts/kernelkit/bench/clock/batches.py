"""Timing on a GPU: batches of calls behind a gate, by two clocks.

A batch is one call on each of many slots, all with contents of their own; the cache is emptied
before it, so that every input comes from memory. Inside, the solution's process marks each call
with events. From outside, the verifier sees how long the whole batch took (`gate.py`); what a batch
of calls of nothing takes, by the control process, is subtracted. Where the claim is below what is
left, that is what counts. Outputs are taken at the batch's end and judged.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock import timing
from kernelkit.bench.isolation.processes import SolutionFailedError, SolutionProcess
from kernelkit.bench.judge.contents import PLANNED
from kernelkit.bench.outcome import RefusedError, answered, number
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    from kernelkit.bench.trial import Trial

FEWEST = 2  # calls of a batch
LENIENCE, LENIENCE_MS = 0.10, 0.002  # of the claim; of a call: jitter of switching processes
FULLY_JUDGED = 6  # calls of each batch
JUDGED_SHARE = 0.25  # of a batch by distance, once judging has used up its time
NULL_ROUNDS = 3
FIRST_BATCH = 12  # calls, after which a trial may be settled
MOST_ROUNDS = 20  # batches of one trial


def timed(trial: Trial) -> timing.Timing:
    """The timing of a solution. Raises RefusedError, SolutionFailedError."""
    if trial.setup is not None:  # one plan serves every batch
        trial.call("call before the batches", f"0/{PLANNED}", full=True)
    kind = PLANNED if trial.setup is not None else "free"
    warmup = min(trial.slots, max(FEWEST, trial.settings.warmup - 1))
    run_batch(trial, [f"0/{kind}/warm/{n}" for n in range(warmup)])
    trials: list[list[float]] = []
    outside: list[float] = []
    for turn in range(trial.settings.trials):
        samples, seen = _trial(trial, f"{turn}/{kind}")
        trials.append(samples)
        outside += seen
        if trial.late:
            trial.late_probe()
    while trial.late:
        trial.late_probe()
    claimed = timing.summarize(
        trials, "cuda events", l2="cold", host_overhead_ms=statistics.median(trial.hosts_ms),
        setup_ms=trial.setup_ms, extra={"outside_ms": min(outside)},
    )  # fmt: skip
    return _credit(trial, claimed, min(outside))


def _trial(trial: Trial, name: str) -> tuple[list[float], list[float]]:
    """One trial: claimed samples, and the time of a call as seen from outside, batch by batch."""
    samples: list[float] = []
    outside: list[float] = []
    deadline = time.monotonic() + trial.settings.max_seconds / trial.settings.trials
    for batch in range(MOST_ROUNDS):
        most = FIRST_BATCH if not batch else trial.slots
        count = min(most, trial.slots, trial.settings.iterations - len(samples))
        if batch and (count < FEWEST or timing.settled(samples) or time.monotonic() > deadline):
            break
        keys = [f"{name}/{batch}/{n}" for n in range(max(1, count))]
        claims, elapsed_ms = run_batch(trial, keys, sampled=not batch)
        samples += claims
        nothing_ms = _nothing(trial, keys, taken=not trial.passing)
        outside.append(max(0.0, (elapsed_ms - nothing_ms) / len(keys)))
    return samples, outside


def _credit(trial: Trial, claimed: timing.Timing, outside_ms: float) -> timing.Timing:
    """The timing that counts: the claim, or what was seen from outside where that is more."""
    if claimed.median_ms >= outside_ms * (1 - LENIENCE) - LENIENCE_MS:
        return claimed
    trial.outcome.notes.append(
        f"note: claims {claimed.median_ms:.4g} ms; {outside_ms:.4g} ms, seen from outside, counts"
    )
    return dataclasses.replace(
        claimed, method="outside events", median_ms=outside_ms, p10_ms=outside_ms,
        p90_ms=outside_ms,
    )  # fmt: skip


def run_batch(trial: Trial, keys: list[str], *, sampled: bool = True) -> tuple[list[float], float]:
    """One verified batch: the claimed times, and the batch's as seen from outside.

    `sampled`: some of its calls are judged in full; else one.
    """
    count = len(keys)
    judged, distance = _judged(trial, count, FULLY_JUDGED if sampled else 1)
    start = time.monotonic()
    taken = not trial.passing
    answer, document = _through_gate(
        trial, trial.process, keys, (judged, distance), take=taken, taken=taken
    )
    trial.judging += time.monotonic() - start
    trial.hosts_ms.append(number(answered(answer), "host_ms"))
    trial.outcome.calls += count
    trial.outcome.judged.append(document)
    trial.outcome.verified += len({*judged, *distance})
    if document["status"] != Status.PASSED.value:
        text = f"batch of {count} calls: {document['message']}"
        raise RefusedError({**document, "message": text})
    claims = trial.process.ask("times", trial.limit, count=count)
    if not isinstance(claims, list) or len(claims) != count:
        raise SolutionFailedError(Status.RUNTIME_ERROR, "spoke out of turn: no times")
    claims = [trial.check_floor(number({"time": claim}, "time")) for claim in claims]
    return claims, document["elapsed_ms"]


def _judged(trial: Trial, count: int, fully: int) -> tuple[list[int], list[int]]:
    """Calls of a batch to be judged in full (a secret sample), and by their distance (all; once
    judging has used up its time a part of them)."""
    full = sorted(trial.chance.sample(range(count), min(count, fully)))
    if trial.judging < trial.settings.verify_seconds:
        return full, list(range(count))
    few = max(1, int(JUDGED_SHARE * count))
    return full, sorted(trial.chance.sample(range(count), few))


def _nothing(trial: Trial, keys: list[str], *, taken: bool) -> float:
    """The device time of a batch of nothing, from the control process.

    Copies of outputs that were just written cost less than those of others: their share is the
    difference between batches that write all outputs with and without copying them.
    """
    control, count = trial.control, len(keys)
    if count not in control.nothing_ms:
        control.nothing_ms[count] = _null(trial, keys, "nothing", take=False)
    if taken and control.copies_ms is None:
        some = keys[:FIRST_BATCH]
        both = [_null(trial, some, "fill", take=take) for take in (False, True)]
        control.copies_ms = max(0.0, both[1] - both[0]) / len(some)
    return control.nothing_ms[count] + (control.copies_ms or 0.0) * count * taken


def _null(trial: Trial, keys: list[str], instead: str, *, take: bool) -> float:
    """Device milliseconds of a batch of the control process, the least of a few."""
    none: tuple[list[int], list[int]] = ([], [])
    times = []
    for _ in range(NULL_ROUNDS):
        _, document = _through_gate(
            trial, trial.control.process, keys, none, take=take, taken=False, instead=instead
        )
        times.append(float(document["elapsed_ms"]))
    return min(times)


def _through_gate(
    trial: Trial, process: SolutionProcess, keys: list[str], judged: tuple[list[int], list[int]],
    *, take: bool,
    taken: bool, instead: str = "",
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Run one batch: the process's answer, the verifier's document."""
    verifier = trial.verifier
    verifier.ask("fill", keys=keys, gated=True)
    opened: list[bool] = []

    def open_gate() -> None:
        if not opened:
            opened.append(verifier.ask("open_gate"))

    try:
        answer = process.ask_while(
            "batch", trial.limit, open_gate, process.queue_seconds, count=len(keys), take=take,
            instead=instead,
        )  # fmt: skip
        if opened:  # it waits for the device: the next batch need not wait for it
            process.queue_seconds = 0.0
    finally:
        open_gate()
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        return answer, {}
    document = verifier.ask(
        "close_gate", judged=judged[0], distance=judged[1], taken=taken, limit=trial.limit
    )
    if not document["elapsed_ms"] > 0:
        raise SolutionFailedError(Status.RUNTIME_ERROR, "void: a batch that took no time")
    return answer, document
