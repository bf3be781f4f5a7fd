"""Timing on a GPU: batches of calls behind a gate, by two clocks.

A batch is one call on each of many slots, all with contents of their own; the cache is emptied
before it, so that every input comes from memory. Inside, the solution's process marks each call
with events. From outside, the verifier sees how long the whole batch took (`gate.py`); what a batch
of calls of nothing takes, by the control process, is subtracted. Where the claim is below what is
left, that is what counts. Outputs are taken at the batch's end and judged.

Probes are calls of a batch like others, at places that nobody knows. Where something is planned
ahead of a call (`setup`), or the op draws at random, they go by themselves, and so does a first
call, unless the process has made one ahead of all.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock import timing
from kernelkit.bench.clock.control import ControlFailedError
from kernelkit.bench.clock.keys import FEWEST, FIRST_BATCH, PROBE, kind_of
from kernelkit.bench.isolation.processes import SolutionFailedError, SolutionProcess
from kernelkit.bench.isolation.service import ServiceError
from kernelkit.bench.judge.contents import PLANNED
from kernelkit.bench.outcome import RefusedError, answered, number
from kernelkit.bench.settings import later_limit
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    from kernelkit.bench.trial import Trial

METHOD = "cuda events"
LENIENCE, LENIENCE_MS = 0.10, 0.002  # of the claim; of a call: jitter of switching processes
FULLY_JUDGED = 6  # calls of each batch, where it is too large to judge all of it in full
JUDGED_SHARE = 0.25  # of a batch by distance, once judging has used up its time
NULL_ROUNDS = 3
MOST_ROUNDS = 20  # batches of one trial
AFTER = -1  # all trials


@dataclass(frozen=True)
class Batch:
    """The keys of a batch's calls. Probes are judged in full, come what may; of the others
    `fully`."""

    keys: list[str]
    fully: int = FULLY_JUDGED
    what: str = "timed calls"

    @property
    def probes(self) -> list[int]:
        """The numbers of the calls that are probes."""
        return [n for n, key in enumerate(self.keys) if key.startswith(PROBE)]

    def called(self, number: int) -> str:
        """A call in words."""
        key = self.keys[number]
        return f"probe {key.removeprefix(PROBE)!r}" if key.startswith(PROBE) else f"call {number}"


def timed(trial: Trial) -> timing.Timing:
    """The timing of a solution. Raises RefusedError, SolutionFailedError."""
    _plan(trial, 0)
    kind = kind_of(trial.setup)
    _warm_up(trial, kind)
    late = {} if trial.stepwise else _late(trial)
    trials: list[list[float]] = []
    outside: list[float] = []
    for turn in range(trial.settings.trials):
        samples, seen = _trial(trial, f"{turn}/{kind}", late.get(turn, []))
        trials.append(samples)
        outside += seen
        if trial.late:
            trial.late_probe()
            _plan(trial, turn + 1)
    while trial.late:
        trial.late_probe()
    _probes(trial, late.get(AFTER, []), f"late/{kind}")
    claimed = timing.summarize(
        trials, _method(trial), l2="cold", host_overhead_ms=statistics.median(trial.hosts_ms),
        setup_ms=trial.setup_ms, extra={"outside_ms": min(outside)},
    )  # fmt: skip
    return _credit(trial, claimed, min(outside))


def _method(trial: Trial) -> str:
    """How the solution is timed: where it waits for the device within a call, the host is in it."""
    return timing.HOST_BOUND if trial.process.waits_for_device else METHOD


def _plan(trial: Trial, number: int) -> None:
    """One plan serves every batch, until a call with other tables comes between."""
    if trial.setup is not None:
        trial.call("call before the batches", f"{number}/{PLANNED}", full=True)


def _warm_up(trial: Trial, kind: str) -> None:
    """Calls that are not timed, with the early probes among them. How long they take limits all
    that follow."""
    # Each slot has a graph of its own to record.
    least = FIRST_BATCH + len(trial.late) if trial.settings.cuda_graph else FEWEST
    fresh = [f"0/{kind}/warm/{n}" for n in range(max(least, trial.settings.warmup))]
    keys, trial.early = _mixed(trial, trial.early, fresh), []
    start = time.monotonic()
    run_batch(trial, Batch(keys[: trial.slots], what="first calls"))
    trial.limit = later_limit(trial.settings, time.monotonic() - start)
    _probes(trial, [k for k in keys[trial.slots :] if k.startswith(PROBE)], f"early/{kind}")


def _mixed(trial: Trial, probes: list[str], fresh: list[str]) -> list[str]:
    """Probes among other calls, in an order that nobody can know."""
    mixed = [*probes, *fresh]
    trial.chance.shuffle(mixed)
    return mixed


def _probes(trial: Trial, probes: list[str], name: str) -> None:
    """Batches of probes, each with another call beside it."""
    most = max(1, trial.slots - 1)
    for start in range(0, len(probes), most):
        some = probes[start : start + most]
        run_batch(trial, Batch(_mixed(trial, some, [f"{name}/{start}"]), what="probes"))


def _late(trial: Trial) -> dict[int, list[str]]:
    """The trial, which nobody knows, in which the probes come that were kept back; AFTER all trials
    what finds no room. The batches of the others show from outside what a call takes."""
    probes, trial.late = trial.late, []
    trials = trial.settings.trials
    room = max(0, trial.slots - FIRST_BATCH) if trials > 1 else 0
    return {trial.chance.randrange(trials): probes[:room], AFTER: probes[room:]}


def _trial(trial: Trial, name: str, probes: list[str]) -> tuple[list[float], list[float]]:
    """One trial: claimed samples, and the time of a call as seen from outside, batch by batch.
    `probes` are among the calls of its first batch; they are no samples."""
    samples: list[float] = []
    outside: list[float] = []
    deadline = time.monotonic() + trial.settings.max_seconds / trial.settings.trials
    for turn in range(MOST_ROUNDS):
        most = trial.slots if turn else FIRST_BATCH
        count = min(most, trial.slots, trial.settings.iterations - len(samples))
        if turn and (
            count < FEWEST or timing.settled(samples, _method(trial)) or time.monotonic() > deadline
        ):
            break
        keys = [f"{name}/{turn}/{n}" for n in range(max(1, count))]
        if turn or not probes:
            claims, elapsed_ms = run_batch(trial, Batch(keys, fully=1 if turn else FULLY_JUDGED))
            samples += claims
            nothing_ms = _nothing(trial, keys, taken=not trial.passing)
            outside.append(max(0.0, (elapsed_ms - nothing_ms) / len(keys)))
        else:
            mixed = _mixed(trial, probes, keys)
            claims, _ = run_batch(trial, Batch(mixed))
            samples += [c for k, c in zip(mixed, claims, strict=True) if k not in probes]
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


def run_batch(trial: Trial, batch: Batch) -> tuple[list[float], float]:
    """One verified batch: the claimed times, and the batch's as seen from outside."""
    count, process = len(batch.keys), trial.process
    full, distance = _judged(trial, batch)
    start, taken = time.monotonic(), not trial.passing
    verifier = trial.verifier
    answer, waited = _queue(trial, process, batch.keys, take=taken)
    process.note_wait(waited)
    trial.hosts_ms.append(number(answered(answer), "host_ms"))
    verifier.begin("close_gate", judged=full, distance=distance, taken=taken, limit=trial.limit)
    claims, document = _ended(trial, count)
    trial.judging += time.monotonic() - start
    trial.outcome.calls += count
    trial.outcome.judged.append(document)
    trial.outcome.verified += len({*full, *distance})
    if document["status"] != Status.PASSED.value:
        which = document["refused"]
        what = f", {batch.called(which)}" if which is not None else ""
        text = f"{batch.what} (a batch of {count}){what}: {document['message']}"
        raise RefusedError({**document, "message": text})
    if not document["elapsed_ms"] > 0:
        raise SolutionFailedError(Status.RUNTIME_ERROR, "void: a batch that took no time")
    return _claims(trial, claims, count), document["elapsed_ms"]


def _ended(trial: Trial, count: int) -> tuple[Any, dict[str, Any]]:
    """What the process says of its times, while the verifier judges; and the verifier's document.

    A batch that does not end is the solution's doing. The verifier is stuck behind it, then."""
    try:
        claims = trial.process.ask("times", trial.limit, count=count)
    except SolutionFailedError:
        try:
            trial.verifier.finish()
        except ServiceError:
            trial.verifier.broken = trial.outcome.shaken = True
        raise
    return claims, trial.verifier.finish()


def _claims(trial: Trial, claims: Any, count: int) -> list[float]:
    """The times that the process claims. Raises SolutionFailedError."""
    if not isinstance(claims, list) or len(claims) != count:
        raise SolutionFailedError(Status.RUNTIME_ERROR, "spoke out of turn: no times")
    return [trial.check_floor(number({"time": claim}, "time")) for claim in claims]


def _judged(trial: Trial, batch: Batch) -> tuple[list[int], list[int]]:
    """Calls of a batch to be judged in full (what must be, and a secret sample), and by their
    distance (all; once judging has used up its time a part of them)."""
    count = len(batch.keys)
    others = [n for n in range(count) if n not in batch.probes]
    some = trial.chance.sample(others, min(len(others), batch.fully))
    full = sorted([*batch.probes, *some])
    if trial.judging < trial.settings.verify_seconds:
        return full, list(range(count))
    few = max(1, int(JUDGED_SHARE * count))
    return full, sorted(trial.chance.sample(range(count), few))


def _nothing(trial: Trial, keys: list[str], *, taken: bool) -> float:
    """The device time of a batch of nothing: from the control process; and what copying outputs
    away takes, from the verifier."""
    control, count = trial.control, len(keys)
    if count not in control.nothing_ms:
        control.nothing_ms[count] = min(_null(trial, keys) for _ in range(NULL_ROUNDS))
    if taken and control.copies_ms is None:
        control.copies_ms = float(trial.verifier.ask("copies_ms"))
    return control.nothing_ms[count] + (control.copies_ms or 0.0) * count * taken


def _null(trial: Trial, keys: list[str]) -> float:
    """Device milliseconds of a batch of nothing by the control process."""
    try:
        answer, _ = _queue(trial, trial.control.process, keys, take=False, nothing=True)
        answered(answer)
    except SolutionFailedError as failed:
        raise ControlFailedError(f"the control process failed: {failed.message}") from None
    document = trial.verifier.ask(
        "close_gate", judged=[], distance=[], taken=False, limit=trial.limit
    )
    return float(document["elapsed_ms"])


def _queue(
    trial: Trial, process: SolutionProcess, keys: list[str], *, take: bool, nothing: bool = False
) -> tuple[Any, bool]:
    """Fill slots behind the gate and let a process queue its calls: its answer, and whether the
    gate had to be opened for it. The gate is open in the end where the answer is no good one."""
    verifier = trial.verifier
    verifier.ask("fill", keys=keys, gated=True)
    opened: list[bool] = []

    def open_gate() -> None:
        if not opened:
            opened.append(verifier.ask("open_gate"))

    answer = None
    try:
        answer = process.ask_while(
            "batch", trial.limit, open_gate, process.queue_seconds, count=len(keys), take=take,
            nothing=nothing,
        )  # fmt: skip
        return answer, bool(opened)
    finally:
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            open_gate()
