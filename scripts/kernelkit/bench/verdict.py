"""From what a trial came to, to the evaluation that is written down."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from kernelkit.bench.clock.timing import Timing
from kernelkit.bench.isolation.sandbox import MEASURES
from kernelkit.bench.limits.ceilings import Ceilings
from kernelkit.bench.limits.cost import Work
from kernelkit.bench.outcome import Outcome
from kernelkit.bench.settings import Settings
from kernelkit.dataset.trace import Correctness, Environment, Evaluation, Performance, Status

LOG_CHARACTERS = 6000
Facts = dict[str, Any]


def make_evaluation(
    outcome: Outcome,
    settings: Settings,
    *,
    tolerance: Facts,
    reference: Facts,
    machine: Facts,
    isolation: list[str],
    work: Work,
    ceilings: Ceilings | None,
    log: str,
) -> Evaluation:
    """The evaluation of a trace. `reference`: the timing of the definition's reference."""
    correctness = performance = None
    if outcome.status in (Status.PASSED, Status.INCORRECT_NUMERICAL):
        extra = _facts(outcome, settings, tolerance, isolation)
        if outcome.status is Status.PASSED and outcome.timing is not None:
            extra["timing"] = outcome.timing.to_json()
            extra["reference_timing"] = reference
            extra["speed_of_light"] = work.speed_of_light(outcome.timing.median_ms, ceilings)
            performance = _performance(outcome.timing, reference)
        correctness = Correctness(
            max_absolute_error=_worst(outcome.judged, "max_abs"),
            max_relative_error=_worst(outcome.judged, "max_rel"),
            extra=extra,
        )
    return Evaluation(
        status=outcome.status,
        environment=Environment(hardware=machine["hardware"], libs=machine["libs"]),
        timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        log=log.encode("utf-8", "replace").decode()[:LOG_CHARACTERS],
        correctness=correctness,
        performance=performance,
    )


def _facts(outcome: Outcome, settings: Settings, tolerance: Facts, isolation: list[str]) -> Facts:
    return {
        "evaluator": "kernelkit",
        "seed": settings.seed,
        "trials": settings.trials,
        "atol": tolerance["atol"],
        "rtol": tolerance["rtol"],
        "required_matched_ratio": tolerance["matched_ratio"],
        "matched_ratio": min((doc["matched_ratio"] for doc in outcome.judged), default=1.0),
        "outputs": _outputs(outcome.judged),
        "calls": outcome.calls,
        "verified": outcome.verified,
        "isolation": isolation,
        "isolation_absent": [
            name for name in MEASURES if not any(held.startswith(name) for held in isolation)
        ],
    }


def _outputs(judged: Iterable[Facts]) -> Facts:
    """The worst of each output over all judged calls."""
    found: Facts = {}
    for document in judged:
        for name, error in document["outputs"].items():
            known = found.setdefault(name, {"max_abs": 0.0, "max_rel": 0.0, "matched_ratio": 1.0})
            known["max_abs"] = max(known["max_abs"], float(error["max_abs"]))
            known["max_rel"] = max(known["max_rel"], float(error["max_rel"]))
            known["matched_ratio"] = min(known["matched_ratio"], error["matched_ratio"])
    for known in found.values():
        for key in ("max_abs", "max_rel"):
            known[key] = _plain(known[key])
    return found


def _worst(judged: Iterable[Facts], key: str) -> float:
    return max((float(document[key]) for document in judged), default=0.0)


def _plain(value: float) -> float | str:
    """A number, or what JSON has no number for as text."""
    return value if abs(value) < float("inf") else str(value)


def _performance(made: Timing, reference: Facts) -> Performance:
    baseline = float(reference["median_ms"])
    return Performance(
        latency_ms=made.median_ms,
        reference_latency_ms=baseline,
        speedup_factor=baseline / made.median_ms,
    )
