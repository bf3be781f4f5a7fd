"""Timing in batches, with a simulated driver: what is refused, and whose clock counts."""

from __future__ import annotations

import statistics

import pytest

torch = pytest.importorskip("torch")

import simulated  # noqa: E402
from simulated import LATE, RIGHT, RUN, WRITING, Bench, Status  # noqa: E402

from kernelkit.bench.clock import batches  # noqa: E402


@pytest.mark.parametrize(
    ("then", "word"),
    [
        (f"if calls == {LATE}: output[2, 3] = float('nan')", "NaN"),
        (f"if calls == {LATE}: output.mul_(1.5)", "differ"),
        (f"if calls == {LATE}: output.zero_()", "differ"),
        (f"if calls == {LATE}: hidden_states[0, 0] += 1", "writes to its inputs: hidden_states"),
        (f"if calls == {LATE}: weight.view(torch.uint8)[7] ^= 1", "writes to its inputs: weight"),
        (f"if calls == {LATE}: byte(output.data_ptr() + output.nbytes)", "guard zone"),
        (f"if calls == {LATE}: byte(output.data_ptr() - 1)", "guard zone"),
        (f"if calls == {LATE}: byte(hidden_states.data_ptr() - 1)", "guard zone"),
        (f"if calls == {LATE}: byte(weight.data_ptr() + weight.nbytes + 4000)", "guard zone"),
    ],
)
def test_one_bad_call_of_a_batch_is_refused(bench: Bench, then: str, word: str) -> None:
    flip = (
        "import ctypes\n"
        "def byte(address):\n"
        "    place = ctypes.c_ubyte.from_address(address)\n"
        "    place.value ^= 1\n"
    )
    outcome = bench.run(flip + WRITING.format(then=then), passing=True)
    assert outcome.status is Status.INCORRECT_NUMERICAL
    assert word in outcome.message and outcome.message.startswith("timed calls (a batch of ")


def test_a_wrong_solution_fails_at_its_first_calls(bench: Bench) -> None:
    outcome = bench.run("def run(h, w):\n    return h * 1\n")
    assert outcome.status is Status.INCORRECT_NUMERICAL
    assert outcome.message.startswith("first calls (a batch of ")
    assert "call 0" in outcome.message or "probe" in outcome.message


def test_a_result_kept_from_an_earlier_call_is_refused(bench: Bench) -> None:
    text = (
        RIGHT + "\nkept = []\ndef run(h, w):\n    kept.append(right(h, w))\n    return kept[{}]\n"
    )
    for place in ("0", "-2 if len(kept) > 20 else -1"):
        outcome = bench.run(text.format(place))
        assert outcome.status is Status.INCORRECT_NUMERICAL, outcome


def test_large_batches_are_judged_by_a_sample_and_by_distance(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernelkit.bench.judge.station.ALL_ELEMENTS", 1)
    assert bench.run(RUN).status is Status.PASSED
    outcome = bench.run(WRITING.format(then=f"if calls == {LATE}: output.zero_()"), passing=True)
    assert outcome.status is Status.INCORRECT_NUMERICAL
    small = f"if calls >= {LATE}: output.mul_(1.05)"  # no distance shows it, a sample does
    assert bench.run(WRITING.format(then=small), passing=True).status is not Status.PASSED


def test_a_solution_that_waits_for_the_device_is_told_so(bench: Bench) -> None:
    trial = bench.trial(RUN)
    trial.process.waits = 2
    trial.process.note_wait = lambda waited: None
    outcome = trial.run()
    assert outcome.timing.method == "cuda events, host-bound"
    assert outcome.timing.relative_error >= 0.3


FORGED = """
import gc
for thing in gc.get_objects():
    if type(thing).__name__ == "Stopwatch":
        real = thing.elapsed_ms
        thing.elapsed_ms = lambda number=0, real=real: real(number) * 0.35
"""


def test_a_forged_clock_gains_nothing(bench: Bench) -> None:
    honest = bench.run(RUN)
    assert honest.timing.method == "cuda events", honest
    assert honest.timing.median_ms == pytest.approx(simulated.CALL_MS)
    trial = bench.trial(RUN + FORGED)
    watch = trial.process.served.stopwatch
    assert "elapsed_ms" in vars(watch)  # it is forged
    forged = trial.run()
    assert forged.status is Status.PASSED, forged.message
    assert forged.timing.method == "outside events"
    claimed = statistics.median(forged.timing.trials_ms)
    assert claimed == pytest.approx(0.35 * simulated.CALL_MS)
    assert forged.timing.median_ms == pytest.approx(simulated.CALL_MS, rel=0.01)
    assert "seen from outside" in forged.notes[0]


@pytest.mark.parametrize(
    "claims", ["lambda count: None", "lambda count: [1.0] * (count - 1)",
               "lambda count: [float('nan')] * count", "lambda count: [-1.0] * count",
               "lambda count: ['1'] * count", "lambda count: [1e-320] * count",
               "lambda count: [10**400] * count"],
)  # fmt: skip
def test_claims_that_are_no_times_are_refused(bench: Bench, claims: str) -> None:
    trial = bench.trial(RUN)
    trial.process.served.times = eval(claims)
    outcome = trial.run()
    assert outcome.status is Status.RUNTIME_ERROR and outcome.timing is None


def test_an_error_in_a_batch_is_the_solutions(bench: Bench) -> None:
    text = WRITING.format(then=f"if calls == {LATE}: raise ValueError('boo')")
    outcome = bench.run(text, passing=True)
    assert outcome.status is Status.RUNTIME_ERROR and "boo" in outcome.message


def test_a_batch_that_does_not_end_is_the_solutions_and_the_verifier_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = bench.trial(RUN)
    ask, real = trial.process.ask, bench.verifier.finish

    def late(do: str, seconds: float, **arguments: object) -> object:
        if do == "times":
            raise simulated.SolutionFailedError(Status.TIMEOUT, "no end of 'times'")
        return ask(do, seconds, **arguments)

    def stuck() -> object:
        real()
        raise simulated.ServiceError("a batch of calls did not end")

    monkeypatch.setattr(trial.process, "ask", late)
    monkeypatch.setattr(bench.verifier, "finish", stuck)
    outcome = trial.run()
    assert outcome.status is Status.TIMEOUT
    assert outcome.shaken and bench.verifier.broken


def test_a_control_that_is_wrong_or_believed_unwritten_is_seen(bench: Bench) -> None:
    control = bench.ground.control
    served = control.process.served
    right = served.function
    served.function = lambda *inputs: right(*inputs) * 1.5
    with pytest.raises(batches.ControlFailedError, match="refused"):
        control.verify()
    served.function = right
    passed = {"status": "PASSED", "message": ""}
    bench.verifier.handlers["check_each"] = lambda: [passed, passed]
    with pytest.raises(batches.ControlFailedError, match="never written"):
        control.verify()
