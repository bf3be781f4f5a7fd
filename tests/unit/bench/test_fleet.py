"""Many devices: a broken or silent one stops no other, nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import pytest
from evaluated import RIGHT, solution_of

from kernelkit.bench import evaluation, fleet
from kernelkit.bench.selection import Filters, Plan, Task, plan
from kernelkit.bench.settings import Settings
from kernelkit.bench.spread import crew, local, parcel
from kernelkit.bench.spread.local import Deputy
from kernelkit.bench.spread.shares import LEAST_WORKLOADS, MOST_BLAME, Shares, split
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Environment, Evaluation, Status, Trace
from kernelkit.dataset.workload import RandomInput, Workload
from kernelkit.errors import KernelkitError, MissingDependencyError
from kernelkit.ops import rmsnorm

QUICK = Settings(warmup=1, iterations=2, trials=1, max_seconds=1.0, timeout=60.0)


def _plan(definitions: int, workloads: int = 1, solutions: int = 1) -> Plan:
    tasks = []
    for number in range(definitions):
        made = rmsnorm.FAMILY.definition(32 * (number + 1), 1e-5)
        chosen = [solution_of(RIGHT, f"s{n}_{made.name}", made) for n in range(solutions)]
        inputs = {name: RandomInput() for name in made.inputs}
        for n in range(workloads):
            work = Workload(uuid=f"u{n}", axes={"batch_size": n + 1}, inputs=inputs)
            tasks.append(Task(made, work, chosen))
    return Plan(tasks)


def _pairs(asked: Plan) -> list[tuple[str, str, str | None]]:
    return [(t.definition.name, t.workload.uuid, s.name) for t in asked.tasks for s in t.solutions]


def _have(traces: list[Trace]) -> list[tuple[str, str, str | None]]:
    return [(t.definition, t.workload.uuid, t.solution) for t in traces]


def _traces(asked: Plan) -> Iterator[Trace]:
    done = Evaluation(
        status=Status.RUNTIME_ERROR, environment=Environment(hardware="pretended"),
        timestamp=datetime.now(timezone.utc).isoformat(),
    )  # fmt: skip
    for task in asked.tasks:
        for solution in task.solutions:
            yield Trace(definition=task.definition.name, workload=task.workload,
                        solution=solution.name, evaluation=done)  # fmt: skip


Act = Callable[["Pretended", Plan], Iterator["Trace | str | None"]]


@dataclass
class Pretended:
    """A device that does as it is told, and counts what it was given."""

    act: Act
    given: list[Plan] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, asked: Plan) -> Iterator[Trace | str | None]:
        self.given.append(asked)
        yield None
        yield from self.act(self, asked)

    def stop(self) -> None:
        self.stopped.set()


def _good(device: Pretended, asked: Plan) -> Iterator[Trace | str | None]:
    for trace in _traces(asked):
        time.sleep(0.002)
        yield trace


def _slow(device: Pretended, asked: Plan) -> Iterator[Trace | str | None]:
    for trace in _traces(asked):
        time.sleep(0.03)
        yield trace


def _tells(device: Pretended, asked: Plan) -> Iterator[Trace | str | None]:
    """As an evaluator on a broken GPU: at once, in words."""
    yield from dict.fromkeys(f"{t.definition.name}: no such device" for t in asked.tasks)


def _raises(device: Pretended, asked: Plan) -> Iterator[Trace | str | None]:
    yield next(_traces(asked))
    raise KernelkitError("its process ended with exit code -9")


def _raises_at_once(device: Pretended, asked: Plan) -> Iterator[Trace | str | None]:
    raise KernelkitError("lost its node")
    yield


def _hangs(device: Pretended, asked: Plan) -> Iterator[Trace | str | None]:
    yield next(_traces(asked))
    device.stopped.wait(30)
    yield from _traces(asked)  # too late: others have done that


def _spread(
    asked: Plan, *acts: Act, **more: float
) -> tuple[list[Trace], list[str], list[Pretended]]:
    devices = {f"fake:{number}": Pretended(act) for number, act in enumerate(acts)}
    made = crew.Crew(list(devices), devices.__getitem__, **more)  # type: ignore[arg-type]
    traces, texts = crew.in_order(asked, list(crew.spread(asked, made)))
    return traces, texts, list(devices.values())


@pytest.mark.parametrize("bad", [_tells, _raises, _slow])
def test_a_bad_device_stops_no_other(bad: Act) -> None:
    asked = _plan(12, workloads=2, solutions=2)
    traces, texts, devices = _spread(asked, bad, _good, _good)
    assert _have(traces) == _pairs(asked)  # all, once, in the plan's order
    assert texts == []
    assert all(device.given for device in devices)


def test_a_silent_device_is_given_up_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "LOOK_SECONDS", 0.05)
    asked = _plan(6, workloads=3)
    traces, texts, devices = _spread(asked, _hangs, _good, silent_seconds=0.3)
    assert _have(traces) == _pairs(asked)
    assert texts == []
    assert devices[0].stopped.is_set() and len(devices[0].given) == 1


def test_the_last_device_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "LOOK_SECONDS", 0.05)
    asked = _plan(2, workloads=2)
    traces, texts, _ = _spread(asked, _hangs, _hangs, silent_seconds=0.2)
    assert len(traces) == 2
    assert len(texts) == 2 and all("no result for 0.2 s" in text for text in texts)


def test_a_broken_device_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    asked = _plan(30)
    traces, texts, (broken, _) = _spread(asked, _tells, _slow)
    assert _have(traces) == _pairs(asked) and texts == []
    assert sum(len(p.tasks) for p in broken.given) < 10
    said = capsys.readouterr().err
    assert "fake:0 is not used any more" in said
    assert said.count("given back by fake:0: rmsnorm_h") >= MOST_BLAME


def test_a_fault_of_the_data_is_told_once_after_other_devices_had_their_try() -> None:
    asked = _plan(5)
    bad = asked.tasks[1].definition.name

    def act(device: Pretended, lot: Plan) -> Iterator[Trace | str | None]:
        for trace in _traces(lot):
            yield f"{bad}: workload u0: a blob is absent" if trace.definition == bad else trace

    traces, texts, _ = _spread(asked, act, act)
    assert len(traces) == 4
    (text,) = texts
    assert text.startswith(f"{bad}: workload u0: a blob is absent (tried on fake:")
    assert "fake:0" in text and "fake:1" in text


def test_places_in_a_queue_may_have_a_part_again() -> None:
    asked = _plan(1)
    left = [_raises_at_once, _raises_at_once, _good]

    def act(device: Pretended, lot: Plan) -> Iterator[Trace | str | None]:
        yield from left.pop(0)(device, lot)

    traces, texts, _ = _spread(asked, act, alike=True)
    assert _have(traces) == _pairs(asked) and texts == []
    traces, (text,), _ = _spread(asked, _raises_at_once, alike=True)
    assert traces == [] and text == "rmsnorm_h32: lost its node"


def test_a_missing_package_ends_the_run() -> None:
    def act(device: Pretended, lot: Plan) -> Iterator[Trace | str | None]:
        raise MissingDependencyError("flashinfer-bench is not installed")
        yield

    with pytest.raises(MissingDependencyError):
        _spread(_plan(3), act, _good)


def test_a_trace_that_cannot_be_written_ends_the_run(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _plan(4)
    device = Pretended(_good)
    monkeypatch.setattr(fleet, "Deputy", lambda *_: device)
    (dataset.root / "traces").write_text("in the way", encoding="utf-8")
    with pytest.raises(KernelkitError, match="cannot be written"):
        list(fleet.run(dataset, asked, QUICK, ["cuda:0", "cuda:1"], dataset))
    assert device.stopped.is_set()


def test_parts_are_workloads_where_definitions_are_few() -> None:
    few = list(split(_plan(1, workloads=16, solutions=3), 3))
    assert [len(part.tasks) for part in few] == [6, 6, 4]
    assert all(len(task.solutions) == 3 for part in few for task in part.tasks)
    small = list(split(_plan(1, workloads=LEAST_WORKLOADS + 1), 8))
    assert [len(part.tasks) for part in small] == [LEAST_WORKLOADS, 1]
    assert [part.name for part in split(_plan(5, workloads=9), 4)] == [
        f"rmsnorm_h{32 * n}" for n in range(1, 6)
    ]


def test_many_definitions_are_taken_a_few_at_a_time() -> None:
    shares = Shares(_plan(64), ["a", "b"])
    first = shares.take("a")
    assert len(first.tasks) == evaluation.MOST_SESSIONS
    one = Shares(_plan(3), ["a", "b"])
    assert len(one.take("a").tasks) == 1


def test_a_plan_travels_as_a_document() -> None:
    asked = _plan(2, workloads=2, solutions=2)
    back = parcel.unpack(parcel.pack(asked))
    assert back.tasks == asked.tasks


@pytest.fixture
def filled(dataset: Dataset) -> tuple[Dataset, Plan]:
    """Three small definitions, as a dataset, and its plan on a CPU."""
    pytest.importorskip("torch")
    asked = _plan(3)
    for definition, tasks in evaluation.by_definition(asked):
        dataset.write_definition(definition)
        dataset.write_workloads(
            definition, [Trace(definition=definition.name, workload=t.workload) for t in tasks]
        )
        dataset.write_solution(tasks[0].solutions[0], definition)
    return dataset, plan(dataset, Filters())


def test_two_real_processes_one_of_them_killed(
    filled: tuple[Dataset, Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dataset, asked = filled
    deputies: list[Deputy] = []

    def opened(*arguments: object) -> Deputy:
        deputies.append(Deputy(*arguments))  # type: ignore[arg-type]
        return deputies[-1]

    monkeypatch.setattr(fleet, "Deputy", opened)
    found: list[Trace | str] = []
    for item in fleet.run(dataset, asked, QUICK, ["cpu:0", "cpu:1"], dataset):
        found.append(item)
        if len(found) == 1:
            os.kill(deputies[0].process.pid, signal.SIGKILL)
    traces, texts = crew.in_order(asked, found)
    assert texts == []
    assert _have(traces) == _pairs(asked)
    assert all(t.evaluation and t.evaluation.status is Status.PASSED for t in traces)
    kept = [loaded.value for loaded in dataset.load_traces() if loaded.value is not None]
    assert sorted(_have(kept)) == sorted(_pairs(asked))
    assert list(tmp_path.glob("kernelkit-*")) == []
    assert all(deputy.process.poll() is not None for deputy in deputies)


def test_a_deputy_at_work_ends_when_it_is_stopped(
    filled: tuple[Dataset, Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(local, "STOP_SECONDS", 1.0)
    dataset, asked = filled
    text = RIGHT + "\nimport time\ntime.sleep(600)\n"
    plain = asked.tasks[0].solutions[0].to_json()
    slow = Solution.model_validate({**plain, "sources": [{"path": "main.py", "content": text}]})
    deputy = Deputy(dataset, QUICK, "kernelkit")
    running = deputy.run(Plan([Task(asked.tasks[0].definition, asked.tasks[0].workload, [slow])]))
    assert next(running) is None
    ending = threading.Timer(3.0, deputy.stop)
    ending.start()
    begun = time.monotonic()
    with pytest.raises(KernelkitError, match="its process ended"):
        list(running)
    ending.join()
    assert time.monotonic() - begun < 15
    assert list(tmp_path.glob("kernelkit-*")) == []
