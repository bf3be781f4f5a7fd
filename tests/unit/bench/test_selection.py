"""What a benchmark run covers."""

from __future__ import annotations

import pytest

from kernelkit.bench import selection
from kernelkit.bench.selection import Filters, key, mark, plan
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Environment, Evaluation, Status, Trace
from kernelkit.dataset.workload import RandomInput, Workload
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.ops import rmsnorm

DEFINITION = rmsnorm.FAMILY.definition(64, 1e-5)


def _solution(name: str, **spec: object) -> Solution:
    return Solution.model_validate(
        {
            "name": name,
            "definition": DEFINITION.name,
            "author": "tests",
            "spec": {
                "language": "python",
                "target_hardware": ["cpu", "cuda"],
                "entry_point": "main.py::run",
                **spec,
            },
            "sources": [{"path": "main.py", "content": "def run(): pass\n"}],
        }
    )


def _workload(uuid: str) -> Trace:
    inputs = {"hidden_states": RandomInput(), "weight": RandomInput()}
    work = Workload(uuid=uuid, axes={"batch_size": 2}, inputs=inputs)
    return Trace(definition=DEFINITION.name, workload=work)


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """Two solutions and three workloads of one definition, and a definition with nothing."""
    dataset.write_definition(DEFINITION)
    dataset.write_definition(rmsnorm.FAMILY.definition(128, 1e-5))
    for name in ("a", "b"):
        dataset.write_solution(_solution(name), DEFINITION)
    dataset.write_workloads(DEFINITION, [_workload(uuid) for uuid in ("u1", "u2", "u3")])
    return dataset


def _append_trace(dataset: Dataset, name: str, uuid: str, device: str) -> None:
    evaluation = Evaluation(
        status=Status.TIMEOUT,
        environment=Environment(hardware="x"),
        timestamp="2026-01-01T00:00:00Z",
        log=mark(_solution(name), device) + "\nseed 0",
    )
    line = _workload(uuid)
    trace = line.model_copy(update={"solution": name, "evaluation": evaluation})
    dataset.append_traces(DEFINITION, [trace])


def test_everything(filled: Dataset) -> None:
    made = plan(filled, Filters())
    assert [task.workload.uuid for task in made.tasks] == ["u1", "u2", "u3"]
    assert made.pairs == 6
    assert made.notes == ["rmsnorm_h128: no workload"]


def test_what_brings_a_workload_or_a_solution_is_told(dataset: Dataset) -> None:
    dataset.write_definition(DEFINITION)
    with pytest.raises(NothingSelectedError, match=r"collect_workloads\.py"):
        plan(dataset, Filters())
    dataset.write_workloads(DEFINITION, [_workload("u1")])
    with pytest.raises(NothingSelectedError, match=r"make_baselines\.py"):
        plan(dataset, Filters())
    dataset.write_solution(_solution("a", target_hardware=["cuda"]), DEFINITION)
    with pytest.raises(NothingSelectedError, match="target hardware") as refused:
        plan(dataset, Filters(device="cpu"))
    assert refused.value.next_step is None  # the solution is there; the device is another


def test_filters(filled: Dataset) -> None:
    made = plan(filled, Filters(solutions=["b"], workloads=2, op_types=["rmsnorm"]))
    assert [(t.workload.uuid, [s.name for s in t.solutions]) for t in made.tasks] == [
        ("u1", ["b"]),
        ("u2", ["b"]),
    ]


@pytest.mark.parametrize(
    "filters",
    [
        Filters(definitions=["absent"]),
        Filters(solutions=["absent"]),
        Filters(op_types=["absent"]),
    ],
)
def test_wrong_names_are_errors(filled: Dataset, filters: Filters) -> None:
    with pytest.raises(UsageError, match="absent"):
        plan(filled, filters)


def test_nothing_left(filled: Dataset) -> None:
    with pytest.raises(NothingSelectedError, match="rmsnorm_h128: no workload"):
        plan(filled, Filters(definitions=["rmsnorm_h128"]))
    with pytest.raises(NothingSelectedError):
        plan(filled, Filters(op_types=["gemm"]))


@pytest.mark.parametrize(
    ("spec", "device", "reason"),
    [
        ({"target_hardware": ["NVIDIA_H100"]}, "cpu", "NVIDIA_H100"),
        ({"target_hardware": ["cpu"]}, "cuda:0", "cpu"),
    ],
)
def test_what_cannot_run_here_is_noted(
    filled: Dataset, spec: dict[str, object], device: str, reason: str
) -> None:
    filled.write_solution(_solution("c", **spec), DEFINITION)
    made = plan(filled, Filters(device=device))
    assert made.pairs == 6
    assert any(note.startswith("c: not run") and reason in note for note in made.notes)


def test_resume_skips_what_has_a_trace(filled: Dataset) -> None:
    _append_trace(filled, "a", "u1", "cpu")
    made = plan(filled, Filters(resume=True))
    assert (made.pairs, made.resumed) == (5, 1)
    assert plan(filled, Filters(resume=True, device="cuda")).resumed == 0
    assert plan(filled, Filters()).resumed == 0


def test_resume_runs_a_changed_solution_again(filled: Dataset) -> None:
    _append_trace(filled, "a", "u1", "cpu")
    changed = _solution("a", destination_passing_style=False)
    filled.write_solution(changed, DEFINITION)
    assert plan(filled, Filters(resume=True)).resumed == 0


def test_all_done_is_no_error(filled: Dataset) -> None:
    for name in ("a", "b"):
        for uuid in ("u1", "u2", "u3"):
            _append_trace(filled, name, uuid, "cpu")
    made = plan(filled, Filters(resume=True))
    assert (made.pairs, made.resumed) == (0, 6)


def test_the_key_is_the_content() -> None:
    first, second = _solution("a"), _solution("b")
    assert key(first) == key(second)  # the name does not decide about the result
    assert key(first) != key(_solution("a", entry_point="main.py::other"))
    assert len(key(first)) == 16


def test_an_unreadable_solution_is_refused_alone(filled: Dataset) -> None:
    path = filled.solution_path(_solution("a"), DEFINITION).with_name("bad.json")
    path.write_text("{", encoding="utf-8")
    made = selection.plan(filled, Filters())
    assert made.pairs == 6
    assert any("bad.json" in text for text in made.refused)
    assert not plan(filled, Filters(solutions=["a"])).refused  # nobody asked for it


def test_a_name_that_is_taken_is_refused_alone(filled: Dataset) -> None:
    path = filled.solution_path(_solution("a"), DEFINITION).with_name("z.json")
    path.write_text(_solution("a").to_text(), encoding="utf-8")
    made = plan(filled, Filters())
    assert made.pairs == 6
    assert any("z.json" in text and "another file" in text for text in made.refused)


def test_a_bad_workload_line_is_refused_alone(filled: Dataset) -> None:
    with filled.workload_path(DEFINITION).open("a", encoding="utf-8") as file:
        file.write("{\n" + _workload("u1").to_line() + "\n")
    made = plan(filled, Filters())
    assert made.pairs == 6
    assert [text.split(":")[1] for text in made.refused] == ["4", "5"]


def test_uuids_of_one_definition_leave_the_others_unmentioned(filled: Dataset) -> None:
    assert plan(filled, Filters(workloads=["u3"])).notes == []


def test_a_uuid_that_is_not_there(filled: Dataset) -> None:
    with pytest.raises(UsageError, match="no such workload.*u9"):
        plan(filled, Filters(workloads=["u1", "u9"]))


def test_a_uuid_whose_line_is_damaged_hides_no_other(filled: Dataset) -> None:
    path = filled.workload_path(filled.find_definition("rmsnorm_h64"))
    with path.open("a") as file:
        file.write('{"uuid": "u9"\n')
    made = plan(filled, Filters(workloads=["u1", "u9"]))
    assert made.pairs and made.refused
    assert made.notes == ["no such workload in what is chosen of the dataset: u9"]


def test_a_baseline_is_a_solution_or_has_a_trace(filled: Dataset) -> None:
    assert plan(filled, Filters(solutions=["a"], baseline="b")).pairs == 3
    with pytest.raises(UsageError, match="the baseline is no solution.*gone"):
        plan(filled, Filters(baseline="gone"))
    _append_trace(filled, "gone", "u1", "cpu")
    assert plan(filled, Filters(baseline="gone")).pairs == 6


def test_workloads_by_uuid(filled: Dataset) -> None:
    made = plan(filled, Filters(workloads=["u3"]))
    assert [task.workload.uuid for task in made.tasks] == ["u3"]
