"""Baselines on collected workloads: one run for all definitions, and traces decide."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from kernelkit.capture.collection import evaluation  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Trace  # noqa: E402
from kernelkit.ops import family  # noqa: E402

NORM = family("rmsnorm").definition
RIGHT, WRONG, ALONE = NORM(64, 1e-5), NORM(128, 1e-5), NORM(256, 1e-5)


def _add(dataset: Dataset, definition: Definition, text: str | None) -> list[str]:
    """The definition with two workloads and, with a text, a baseline; the uuids."""
    dataset.write_definition(definition)
    works = [
        {"uuid": f"{definition.name}-{rows}", "axes": {"batch_size": rows},
         "inputs": {name: {"type": "random"} for name in definition.inputs}}
        for rows in (1, 3)
    ]  # fmt: skip
    lines = [{"definition": definition.name, "workload": work} for work in works]
    dataset.write_workloads(definition, map(Trace.model_validate, lines))
    if text is not None:
        dataset.write_solution(Solution.model_validate({
            "name": f"base_{definition.name}", "definition": definition.name, "author": "baseline",
            "spec": {"language": "python", "target_hardware": ["cpu"],
                     "entry_point": "main.py::run", "destination_passing_style": False},
            "sources": [{"path": "main.py", "content": text}],
        }), definition)  # fmt: skip
    return [str(work["uuid"]) for work in works]


@pytest.fixture
def added(dataset: Dataset) -> dict[str, list[str]]:
    wrong = WRONG.reference.replace("* weight", "* 2 * weight")
    assert wrong != WRONG.reference
    texts = ((RIGHT, RIGHT.reference), (WRONG, wrong), (ALONE, None))
    return {definition.name: _add(dataset, definition, text) for definition, text in texts}


def test_one_run_tells_of_every_definition(
    dataset: Dataset, added: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Any] = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        runs.append(command)
        return run(command, **options)

    monkeypatch.setattr(evaluation.subprocess, "run", counted)
    found = evaluation.evaluate(dataset, added, tmp_path / "out", timeout_s=120.0)
    assert len(runs) == 1
    assert found.passed == {RIGHT.name: 2, WRONG.name: 0}
    assert found.failed == {
        WRONG.name: [f"{uuid}: INCORRECT_NUMERICAL" for uuid in added[WRONG.name]]
    }
    assert found.without_baseline == [ALONE.name] and not found.problem and not found.ok
    text = "\n".join(evaluation.lines(found, dataset.root))
    assert f"{RIGHT.name}: 2 PASSED" in text and "no FlashInfer solution" in text


def test_what_was_not_reached_is_no_pass(
    dataset: Dataset, added: dict[str, list[str]], tmp_path: Path
) -> None:
    found = evaluation.evaluate(dataset, added, tmp_path / "out", timeout_s=0.2)
    assert found.problem == "not done within 0.2 s" and not found.ok
    assert found.failed[RIGHT.name] == [f"{uuid}: no trace" for uuid in added[RIGHT.name]]


def test_a_long_command_line_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST_CHARACTERS", 10)
    pending = {"a": ["12345"], "b": ["123"], "c": ["1" * 50], "d": []}
    assert list(evaluation._together(pending)) == [["a", "b"], ["c"], ["d"]]
