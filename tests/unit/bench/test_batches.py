"""Timing in batches, with a simulated driver: whose clock counts, and which calls are looked at."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import simulated  # noqa: E402
from simulated import Bench, Status  # noqa: E402

from kernelkit.bench.clock import batches, keys  # noqa: E402
from kernelkit.bench.isolation.processes import QUEUE_SECONDS, WAITING_SECONDS  # noqa: E402
from kernelkit.bench.isolation.slot import Slot  # noqa: E402
from kernelkit.ops import gqa_paged, rmsnorm  # noqa: E402

NORM = rmsnorm.FAMILY.definition(64, 1e-5)
RIGHT = """
import torch

def right(hidden_states, weight):
    x = hidden_states.float()
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight.float()
    return y.to(hidden_states.dtype)
"""
RUN = RIGHT + "\ndef run(hidden_states, weight):\n    return right(hidden_states, weight)\n"
WRITING = (
    RIGHT
    + """
calls = 0

def run(hidden_states, weight, output):
    global calls
    calls += 1
    output.copy_(right(hidden_states, weight))
    {then}
"""
)
LATE = 24  # a call within the timed batches, that no early look can see


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)
    yield Bench(tmp_path / "processes", NORM, {"batch_size": 5})


def test_a_right_solution_passes_with_every_call_judged(bench: Bench) -> None:
    trial = bench.trial(RUN)
    bench.verifier.asked.clear()
    outcome = trial.run()
    assert outcome.status is Status.PASSED, outcome.message
    assert outcome.calls == outcome.verified
    assert outcome.timing.samples >= 3 * 10
    assert len(outcome.timing.trials_ms) == 3
    assert not trial.late and not trial.early
    batches_run = bench.verifier.asked.count("close_gate") - batches.NULL_ROUNDS * len(
        bench.ground.control.nothing_ms
    )
    assert 4 <= batches_run <= 7  # a warm-up and a few for each of three trials
    assert "check" not in bench.verifier.asked  # no call goes by itself


def test_a_pair_takes_few_requests(bench: Bench) -> None:
    """A warm-up and a batch a trial: two requests to the verifier each, two to the process."""
    bench.run(RUN)  # measures what nothing takes
    trial = bench.trial(RUN)
    bench.verifier.asked.clear()
    trial.process.asked.clear()
    assert trial.run().status is Status.PASSED
    batches_run = 1 + trial.settings.trials
    nothing = bench.verifier.asked.count("close_gate") - batches_run  # a new size, at most
    assert nothing % batches.NULL_ROUNDS == 0 and nothing <= batches.NULL_ROUNDS
    asked = [do for do in bench.verifier.asked if do != "copies_ms"]
    assert asked == ["fill", "close_gate"] * (batches_run + nothing)
    assert trial.process.asked == ["batch", "times"] * batches_run


def test_a_process_without_a_call_ahead_makes_one_by_itself(bench: Bench) -> None:
    trial = bench.trial(RUN)
    trial.rehearsed = False
    bench.verifier.asked.clear()
    assert trial.run().status is Status.PASSED
    assert bench.verifier.asked[:2] == ["fill", "check"]


def test_calls_are_those_that_are_made_ahead(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    run_batch = batches.run_batch

    def spy(trial: object, batch: batches.Batch) -> object:
        seen.extend(batch.keys)
        return run_batch(trial, batch)

    monkeypatch.setattr(batches, "run_batch", spy)
    trial = bench.trial(RUN)
    assert trial.run().status is Status.PASSED
    kinds = {keys.kind_of(trial.setup)}
    ahead = keys.keys_ahead(trial.settings, trial.slots, bench.ground.probes, kinds)
    assert len(ahead) == len(set(ahead))
    company = {key for key in seen if key.startswith(("early/", "late/"))}  # beside probes
    assert set(seen) - company <= set(ahead) and len(company) <= 2
    assert all("planned" not in key for key in ahead)
    assert any("planned" in key for key in keys.keys_ahead(
        trial.settings, trial.slots, [], {keys.kind_of(["weight"])}))  # fmt: skip


def test_all_probes_are_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    run_batch = batches.run_batch

    def spy(trial: object, batch: batches.Batch) -> object:
        seen.extend(batch.keys)
        full, _ = batches._judged(trial, batch)
        assert set(batch.probes) <= set(full)
        return run_batch(trial, batch)

    monkeypatch.setattr(batches, "run_batch", spy)
    assert bench.run(RUN).status is Status.PASSED
    probes = sorted(key for key in seen if key.startswith("probe/"))
    assert probes == sorted(f"probe/{name}" for name in bench.ground.probes)
    assert len(seen) == len(set(seen))  # no contents twice


@pytest.mark.parametrize("trials", [1, 2, 5])
def test_late_probes_come_in_one_trial_at_most(bench: Bench, trials: int) -> None:
    trial = bench.trial(RUN)
    trial.settings = replace(trial.settings, trials=trials)
    trial.late = ["probe/a", "probe/b"]
    found = batches._late(trial)
    assert sorted(p for some in found.values() for p in some) == ["probe/a", "probe/b"]
    with_probes = [turn for turn in range(trials) if found.get(turn)]
    assert len(with_probes) == (trials > 1)


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
               "lambda count: ['1'] * count"],
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


def test_a_process_that_waits_for_the_device_is_let_run_soon(bench: Bench) -> None:
    process = bench.trial(RUN).process
    process.note_wait(True)
    process.note_wait(False)
    process.note_wait(True)
    assert process.queue_seconds == QUEUE_SECONDS  # once may be a compilation
    process.note_wait(True)
    assert process.queue_seconds == WAITING_SECONDS


def test_slots_are_made_when_they_are_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    init = Slot.__init__
    monkeypatch.setattr(Slot, "__init__", lambda *a, **k: (made.append(1), init(*a, **k))[1])
    process = bench.trial(RUN).process
    assert not made and len(process.served.slots) == simulated.SLOTS
    process.served.slots[3]
    process.served.slots[3]
    assert len(made) == 1
    with pytest.raises(IndexError):
        process.served.slots[simulated.SLOTS]


def test_the_controls_are_held_together(bench: Bench) -> None:
    control = bench.ground.control
    bench.verifier.asked.clear()
    control.process.asked.clear()
    control.verify()
    assert bench.verifier.asked == ["fill", "check_each"] and control.process.asked == ["call"]


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


def test_probes_and_draws_go_by_themselves_where_something_is_planned(tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    definition = gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False)
    axes = gqa_paged.FAMILY.small_axes(definition)
    made = Bench(tmp_path / "processes", definition, axes)
    names = ", ".join(definition.inputs)
    text = (
        definition.reference.replace("def run(", "def right(")
        + "\nplans = []\n"
        + "def setup(kv_indptr, kv_indices):\n    plans.append(kv_indptr.tolist())\n"
        + f"def run({names}):\n    assert plans[-1] == kv_indptr.tolist()\n"
        + f"    return right({names})\n"
    )
    outcome = made.trial(text, setup=["kv_indptr", "kv_indices"]).run()
    assert outcome.status is Status.PASSED, outcome.message
    assert outcome.timing.setup_ms > 0
    assert made.run(definition.reference).status is Status.PASSED
