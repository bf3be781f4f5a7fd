"""What is written down of a trial, and which answers of a solution's process are taken."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from kernelkit.bench.clock.timing import Timing
from kernelkit.bench.isolation.processes import SolutionFailedError
from kernelkit.bench.limits.cost import Work
from kernelkit.bench.outcome import Outcome, RefusedError, answered, number
from kernelkit.bench.settings import Settings
from kernelkit.bench.verdict import LOG_CHARACTERS, make_evaluation
from kernelkit.dataset.trace import Evaluation, Status

TIMING = Timing("wall clock", 0.5, 0.4, 0.7, 0.01, 30, [0.5, 0.5], extra={"gate": "open"})
SETTINGS = Settings(seed=7, trials=4)


def _judged(max_abs: float, max_rel: float, ratio: float, **outputs: tuple[float, ...]) -> Any:
    errors = {
        name: dict(zip(("max_abs", "max_rel", "matched_ratio"), values, strict=True))
        for name, values in outputs.items()
    }
    return {"max_abs": max_abs, "max_rel": max_rel, "matched_ratio": ratio, "outputs": errors}


JUDGED = [
    _judged(0.1, 0.3, 1.0, a=(0.1, 0.02, 1.0), b=(0.05, 0.3, 1.0)),
    _judged(0.2, 0.1, 0.75, a=(0.2, 0.01, 0.75), b=(0.01, 0.1, 0.9)),
]


def _made(outcome: Outcome, log: str = "") -> Evaluation:
    return make_evaluation(
        outcome, SETTINGS, tolerance={"atol": 0.5, "rtol": 0.25, "matched_ratio": 0.7},
        reference={"median_ms": 2.0, "method": "x"}, ceilings=None, log=log,
        isolation=["own session", "landlock ABI 7"],
        machine={"hardware": "cpu", "libs": {"torch": "2"}}, work=Work(1e6, 2e6, "bfloat16"),
    )  # fmt: skip


def test_a_pass_with_all_its_numbers() -> None:
    made = _made(Outcome(judged=JUDGED, calls=34, verified=12, timing=TIMING), "said")
    assert made.status is Status.PASSED and made.log == "said"
    assert made.correctness is not None and made.performance is not None
    assert made.correctness.max_absolute_error == 0.2
    assert made.correctness.max_relative_error == 0.3
    extra = dict(made.correctness.extra or {})
    assert extra.pop("outputs") == {
        "a": {"max_abs": 0.2, "max_rel": 0.02, "matched_ratio": 0.75},
        "b": {"max_abs": 0.05, "max_rel": 0.3, "matched_ratio": 0.9},
    }
    assert extra.pop("timing") == TIMING.to_json()
    assert extra.pop("reference_timing") == {"median_ms": 2.0, "method": "x"}
    assert extra.pop("speed_of_light")["gb_per_s"] == pytest.approx(2.0)
    assert extra == {
        "evaluator": "kernelkit", "seed": 7, "trials": 4, "atol": 0.5, "rtol": 0.25,
        "required_matched_ratio": 0.7, "matched_ratio": 0.75, "calls": 34, "verified": 12,
        "isolation": ["own session", "landlock ABI 7"],
        "isolation_absent": ["resource limits", "no network", "own user", "seccomp"],
    }  # fmt: skip
    speeds = made.performance
    assert (speeds.latency_ms, speeds.reference_latency_ms, speeds.speedup_factor) == (
        0.5,
        2.0,
        4.0,
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made.timestamp)


def test_wrong_numbers_are_reported_without_a_time() -> None:
    bad = _judged(math.inf, math.inf, 0.5, a=(math.inf, 3.0, 0.5), b=(-0.0, math.inf, 1.0))
    made = _made(Outcome(Status.INCORRECT_NUMERICAL, judged=[*JUDGED, bad], timing=TIMING))
    assert made.performance is None and made.correctness is not None
    assert made.correctness.max_absolute_error == math.inf
    extra = made.correctness.extra or {}
    assert "timing" not in extra and "speed_of_light" not in extra
    assert extra["outputs"]["a"] == {"max_abs": "inf", "max_rel": 3.0, "matched_ratio": 0.5}
    assert extra["outputs"]["b"] == {"max_abs": 0.05, "max_rel": "inf", "matched_ratio": 0.9}
    json.dumps(extra, allow_nan=False)


@pytest.mark.parametrize("status", [Status.RUNTIME_ERROR, Status.INCORRECT_SHAPE, Status.TIMEOUT])
def test_what_has_no_numbers_reports_none(status: Status) -> None:
    made = _made(Outcome(status, judged=JUDGED, timing=TIMING))
    assert made.correctness is None and made.performance is None


def test_a_pass_that_was_not_timed_is_none() -> None:
    with pytest.raises(ValueError, match="PASSED needs performance"):
        _made(Outcome())


def test_a_trial_of_which_nothing_was_judged() -> None:
    made = _made(Outcome(Status.INCORRECT_NUMERICAL))
    assert made.performance is None and made.correctness is not None
    assert (made.correctness.max_absolute_error, made.correctness.max_relative_error) == (0.0, 0.0)
    extra = made.correctness.extra or {}
    assert (extra["matched_ratio"], extra["outputs"], extra["calls"]) == (1.0, {}, 0)
    assert "timing" not in extra


def test_a_log_is_cut_and_made_text() -> None:
    assert _made(Outcome(Status.TIMEOUT), "x" * 7000).log == "x" * 6000 and LOG_CHARACTERS == 6000
    assert _made(Outcome(Status.TIMEOUT), "a\ud800b").log == "a?b"


def test_a_trial_passes_until_something_is_found() -> None:
    fresh = Outcome()
    assert (fresh.status, fresh.calls, fresh.verified) == (Status.PASSED, 0, 0)
    assert fresh.shaken is False and fresh.timing is None and fresh.judged == fresh.notes == []
    assert str(RefusedError({"message": "why"})) == "why"


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (None, "RUNTIME_ERROR", "an answer of no known form"),
        (["ok"], "RUNTIME_ERROR", "an answer of no known form"),
        ({}, "RUNTIME_ERROR", "no reason given"),
        ({"ok": 1, "error": "boo"}, "RUNTIME_ERROR", "boo"),
        ({"ok": False, "status": "PASSED", "error": 3}, "RUNTIME_ERROR", "3"),
        ({"ok": False, "status": "INCORRECT_NUMERICAL"}, "RUNTIME_ERROR", "no reason given"),
        ({"ok": False, "status": "INCORRECT_SHAPE", "error": "s"}, "INCORRECT_SHAPE", "s"),
        ({"ok": False, "status": "INCORRECT_DTYPE", "error": "d"}, "INCORRECT_DTYPE", "d"),
        ({"error": "x" * 5000}, "RUNTIME_ERROR", "x" * 4000),
    ],
)
def test_answers_that_are_failures(answer: object, status: str, message: str) -> None:
    with pytest.raises(SolutionFailedError) as caught:
        answered(answer)
    assert (caught.value.status.value, caught.value.message) == (status, message)


def test_an_answer_that_went_well() -> None:
    answer = {"ok": True, "ms": 3}
    assert answered(answer) is answer
    made = number(answer, "ms")
    assert made == 3.0 and type(made) is float


@pytest.mark.parametrize("value", [True, "1.0", None, 0, -1.0, math.nan, math.inf, [1.0]])
def test_a_time_that_cannot_be_one(value: object) -> None:
    with pytest.raises(SolutionFailedError, match="void: ms is .*, no time") as caught:
        number({"ok": True, "ms": value}, "ms")
    assert caught.value.status is Status.RUNTIME_ERROR
