"""Timing in batches, with a simulated driver: which calls are made, and which are looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import simulated  # noqa: E402
from simulated import RUN, Bench, Status  # noqa: E402

from kernelkit.bench.clock import batches, keys  # noqa: E402
from kernelkit.bench.isolation.processes import QUEUE_SECONDS, WAITING_SECONDS  # noqa: E402
from kernelkit.bench.isolation.slot import Slot  # noqa: E402
from kernelkit.ops import gqa_paged  # noqa: E402


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
