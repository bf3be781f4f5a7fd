"""Definitions that start together: all processes at once, frozen until it is their turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.evaluation import (  # noqa: E402
    MOST_PROCESSES,
    MOST_SESSIONS,
    TOGETHER,
    Evaluator,
    waves,
)
from kernelkit.bench.isolation.processes import SolutionProcess  # noqa: E402
from kernelkit.bench.selection import Task  # noqa: E402
from kernelkit.bench.session import Session  # noqa: E402
from kernelkit.bench.settings import Settings  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Status, Trace  # noqa: E402
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, Workload  # noqa: E402
from kernelkit.ops import gemm, rmsnorm  # noqa: E402

SETTINGS = Settings(warmup=2, iterations=4, trials=2, max_seconds=1.0, timeout=60.0)
NORM, GEMM = rmsnorm.FAMILY.definition(64, 1e-5), gemm.FAMILY.definition(16, 32)
AXES = {NORM.name: {"batch_size": 5}, GEMM.name: {"M": 3}}


def _solution(definition: Definition, name: str, text: str | None = None) -> Solution:
    return Solution.model_validate({
        "name": name, "definition": definition.name, "author": "tests",
        "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
                 "destination_passing_style": False},
        "sources": [{"path": "main.py", "content": text or definition.reference}],
    })  # fmt: skip


def _part(
    definition: Definition, *solutions: Solution, **inputs: object
) -> tuple[Definition, list[Task]]:
    sources = {name: RandomInput() for name in definition.inputs}
    tasks = [
        Task(definition, Workload(uuid=f"{definition.name}-{n}", axes=AXES[definition.name],
                                  inputs={**sources, **inputs}), list(solutions))
        for n in range(2)
    ]  # fmt: skip
    return definition, tasks


def test_a_wave_holds_no_more_processes_than_may_live_together() -> None:
    many = [_solution(NORM, f"s{n}") for n in range(2 * TOGETHER + 1)]
    found = list(waves([_part(NORM, *many), _part(GEMM, many[0]), *[_part(GEMM)] * 5]))
    sizes = [[len(some) for _, _, some in wave] for wave in found]
    assert sizes[0] == [TOGETHER] and sizes[1][:2] == [TOGETHER, 1]
    assert all(sum(n + 1 for n in wave) <= MOST_PROCESSES for wave in sizes)
    assert all(len(wave) <= MOST_SESSIONS for wave in sizes)


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    dataset = Dataset.create(tmp_path_factory.mktemp("dataset"))
    made = Evaluator(dataset, SETTINGS, tmp_path_factory.mktemp("evaluator"))
    made.starts_ahead = True
    yield made
    made.stop()


def _state(pid: int) -> str:
    """The state of a process; a signal that was sent takes a moment."""
    for _ in range(40):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            break
        time.sleep(0.05)
    return state


def test_all_start_together_and_wait_frozen(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = _solution(GEMM, "bad", "import os\ndef run(A, B):\n    os._exit(1)\n")
    parts = [
        _part(NORM, _solution(NORM, "one"), _solution(NORM, "two")),
        _part(GEMM, bad, _solution(GEMM, "three")),
    ]
    states: dict[str, dict[str, str]] = {}
    sessions: list[Session] = []
    prepare, run = Session.take_first, Session.run

    def took(session: Session) -> None:
        sessions.append(session)
        prepare(session)

    def ran(session: Session) -> Iterator[Trace | str]:
        states[session.definition.name] = {
            entry.solution.name: _state(entry.process.pid) if entry.process else "gone"
            for other in sessions
            for entry in other.entries
        }
        yield from run(session)

    monkeypatch.setattr(Session, "take_first", took)
    monkeypatch.setattr(Session, "run", ran)
    found = list(evaluator.definitions(parts))
    verdicts = {(t.solution, t.workload.uuid[-1]): t.evaluation.status for t in found}
    assert states[NORM.name] == {"one": "T", "two": "T", "bad": "gone", "three": "T"}
    assert states[GEMM.name]["three"] == "T"
    assert len(found) == 8
    for name in ("one", "two", "three"):
        assert {verdicts[name, "0"], verdicts[name, "1"]} == {Status.PASSED}
    assert verdicts["bad", "0"] is Status.RUNTIME_ERROR


def test_a_call_ahead_that_hangs_is_no_verdict_and_not_tried_again(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "settings", replace(SETTINGS, timeout=3.0))
    text = "import time\ndef run(A, B):\n    time.sleep(60)\n"
    hanging = _part(GEMM, _solution(GEMM, "hangs", text))
    asked: list[str] = []
    ask = SolutionProcess._ask

    def asking(process: SolutionProcess, do: str, *arguments: object) -> object:
        asked.append(do)
        return ask(process, do, *arguments)

    monkeypatch.setattr(SolutionProcess, "_ask", asking)
    found = list(evaluator.definitions([hanging, _part(NORM, _solution(NORM, "one"))]))
    assert [t.evaluation.status for t in found] == [Status.TIMEOUT] * 2 + [Status.PASSED] * 2
    assert "no end of 'call'" in found[0].evaluation.log
    assert asked.count("rehearse_call") == 2 + 2  # both solutions, both controls


def test_a_definition_that_cannot_start_costs_itself_alone(evaluator: Evaluator) -> None:
    absent = SafetensorsInput(path="absent.safetensors", tensor_key="w")
    broken = _part(NORM, _solution(NORM, "one"), weight=absent)
    found = list(evaluator.definitions([broken, _part(GEMM, _solution(GEMM, "two"))]))
    assert [item for item in found if isinstance(item, str) and "absent" in item]
    traces = [item for item in found if isinstance(item, Trace)]
    assert [t.evaluation.status for t in traces] == [Status.PASSED] * 2


def test_a_verifier_that_dies_while_others_wait(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Session.run
    killed: list[int] = []

    def killing(session: Session) -> Iterator[Trace | str]:
        if not killed:
            killed.append(evaluator.verifier.process.pid)
            evaluator.verifier.process.kill()
            evaluator.verifier.process.wait()
        yield from run(session)

    monkeypatch.setattr(Session, "run", killing)
    parts = [_part(NORM, _solution(NORM, "one")), _part(GEMM, _solution(GEMM, "two"))]
    found = list(evaluator.definitions(parts))
    assert [f for f in found if isinstance(f, str)]  # the workload in hand
    passed = [f.solution for f in found if isinstance(f, Trace)
              and f.evaluation.status is Status.PASSED]  # fmt: skip
    assert passed == ["one", "two", "two"]
