"""Whole evaluations in real processes: what goes into a run, and what a disturbed one leaves."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from evaluated import (  # noqa: E402
    DEFINITION,
    QUICK,
    RIGHT,
    run_tasks,
    solution_of,
    task_of,
    verdict_of,
)
from safetensors.torch import save_file  # noqa: E402

from kernelkit.bench.evaluation import Evaluator, run_plan  # noqa: E402
from kernelkit.bench.selection import Filters, Plan, plan  # noqa: E402
from kernelkit.bench.session import given_inputs  # noqa: E402
from kernelkit.bench.trial import Trial  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Status, Trace  # noqa: E402
from kernelkit.dataset.workload import SafetensorsInput  # noqa: E402
from kernelkit.errors import FormatError, KernelkitError  # noqa: E402


def test_the_seed_decides_about_the_inputs(dataset: Dataset) -> None:
    text = "def run(h, w):\n    return h * 1"
    errors = []
    for seed in (3, 3, 7):
        made = Plan(tasks=[task_of(solution_of(text))])
        (trace,) = run_plan(dataset, made, replace(QUICK, seed=seed, seed_is_drawn=False), dataset)
        errors.append(trace.evaluation.correctness.max_absolute_error)
    assert errors[0] == errors[1] != errors[2]


def test_recorded_tensors_reach_the_solution(dataset: Dataset, evaluator: Evaluator) -> None:
    weight = torch.full((64,), 3.0, dtype=torch.bfloat16)
    save_file({"w": weight}, evaluator.dataset.root / "blob.safetensors")
    recorded = SafetensorsInput(path="blob.safetensors", tensor_key="w")
    text = RIGHT.replace(
        "def run(hidden_states, weight):\n",
        "def run(hidden_states, weight):\n    assert (weight == 3).all()\n",
    )
    (trace,) = run_tasks(evaluator, task_of(solution_of(text), weight=recorded))
    assert trace.evaluation.status is Status.PASSED, trace.evaluation.log


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("../outside.safetensors", b"x", "leaves the dataset"),
        ("absent.safetensors", None, "absent"),
        ("p.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS pointer"),
    ],
)
def test_blobs_that_cannot_be_used(
    dataset: Dataset, path: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (dataset.root / path).write_bytes(content)
    source = SafetensorsInput(path=path, tensor_key="w")
    with pytest.raises(FormatError, match=message):
        given_inputs(dataset, task_of(weight=source).workload)


def test_a_missing_blob_costs_its_workload_only(evaluator: Evaluator) -> None:
    absent = SafetensorsInput(path="absent.safetensors", tensor_key="w")
    right = solution_of(RIGHT)
    found = run_tasks(
        evaluator, task_of(right, uuid="bad", weight=absent), task_of(right, uuid="good")
    )
    assert isinstance(found[0], str) and "bad" in found[0] and "absent" in found[0]
    assert found[1].evaluation.status is Status.PASSED


def test_a_failing_reference_is_no_ones_verdict(evaluator: Evaluator) -> None:
    broken = DEFINITION.model_copy(
        update={"reference": "def run(hidden_states, weight):\n    raise OSError('broken')\n"}
    )
    (message,) = run_tasks(evaluator, task_of(solution_of(RIGHT), definition=broken))
    assert isinstance(message, str) and "broken" in message


def test_a_workload_without_an_output_element_is_no_ones_verdict(evaluator: Evaluator) -> None:
    """Right and wrong look alike there; it was a RUNTIME_ERROR of the solution."""
    tasks = [
        task_of(solution_of(RIGHT), axes={"batch_size": size}, uuid=f"u{size}") for size in (0, 3)
    ]
    message, trace = run_tasks(evaluator, *tasks)
    assert isinstance(message, str) and "u0: no output has an element" in message
    assert isinstance(trace, Trace) and trace.evaluation.status is Status.PASSED


def test_traces_are_appended_as_they_come(dataset: Dataset) -> None:
    dataset.write_definition(DEFINITION)
    dataset.write_solution(solution_of(RIGHT), DEFINITION)
    line = Trace(definition=DEFINITION.name, workload=task_of().workload)
    dataset.write_workloads(DEFINITION, [line])
    (trace,) = run_plan(dataset, plan(dataset, Filters()), QUICK, dataset)
    assert isinstance(trace, Trace)
    assert len(dataset.traces_of(DEFINITION)) == 1
    assert plan(dataset, Filters(resume=True)).resumed == 1


def test_no_temporary_files_stay(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(os.listdir(tmp_path))
    (trace,) = run_plan(dataset, Plan(tasks=[task_of(solution_of(RIGHT))]), QUICK, dataset)
    assert trace.evaluation.status is Status.PASSED
    assert {name for name in set(os.listdir(tmp_path)) - before if "kernelkit" in name} == set()


def test_a_killed_verifier_costs_one_entry(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearse = Trial._rehearse
    killed: list[int] = []

    def kill_once(trial: Trial) -> None:
        if not killed:
            killed.append(evaluator.verifier.process.pid)
            evaluator.verifier.process.kill()
            evaluator.verifier.process.wait()
        rehearse(trial)

    monkeypatch.setattr(Trial, "_rehearse", kill_once)
    found = run_tasks(evaluator, task_of(solution_of(RIGHT, "first"), solution_of(RIGHT, "second")))
    first, second = (trace.evaluation for trace in found)
    assert first.status is Status.RUNTIME_ERROR and "the verifier failed" in first.log
    assert second.status is Status.PASSED, second.log
    assert evaluator.verifier.process.pid != killed[0]


def test_a_killed_nursery_is_replaced(evaluator: Evaluator) -> None:
    evaluator.nursery.service.process.kill()
    evaluator.nursery.service.process.wait()
    assert verdict_of(evaluator, RIGHT).status is Status.PASSED


def test_a_full_disk_is_one_clear_error(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset, "append_traces", full)
    with pytest.raises(KernelkitError, match="No space left on device.*--resume"):
        list(run_plan(dataset, Plan(tasks=[task_of(solution_of(RIGHT))]), QUICK, dataset))
