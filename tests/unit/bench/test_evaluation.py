"""Whole evaluations in real processes: every way in which a solution can end, and its verdict."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from kernelkit.bench.evaluation import Evaluator, run_plan  # noqa: E402
from kernelkit.bench.isolation.sandbox import MEASURES  # noqa: E402
from kernelkit.bench.selection import Filters, Plan, Task, plan  # noqa: E402
from kernelkit.bench.session import given_inputs  # noqa: E402
from kernelkit.bench.settings import Settings  # noqa: E402
from kernelkit.bench.trial import Trial  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Evaluation, Status, Trace  # noqa: E402
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, Workload  # noqa: E402
from kernelkit.errors import FormatError, KernelkitError  # noqa: E402
from kernelkit.ops import gqa_paged, rmsnorm, sampling  # noqa: E402

DEFINITION = rmsnorm.FAMILY.definition(64, 1e-5)
RIGHT = """
import torch.nn.functional as F

def run(hidden_states, weight):
    x = F.rms_norm(hidden_states.float(), (64,), weight.float(), 1e-5)
    return x.to(hidden_states.dtype)
"""
QUICK = Settings(warmup=2, iterations=4, trials=2, max_seconds=2.0, timeout=60.0)


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """One evaluator for all tests: no test may leave it changed, that is its point."""
    folder = tmp_path_factory.mktemp("evaluator")
    dataset = Dataset.create(tmp_path_factory.mktemp("dataset"))
    made = Evaluator(dataset, QUICK, folder)
    yield made
    made.stop()


def _solution(text: str, name: str = "s", definition: Definition = DEFINITION,
              **spec: object) -> Solution:  # fmt: skip
    return Solution.model_validate(
        {
            "name": name,
            "definition": definition.name,
            "author": "tests",
            "spec": {
                "language": "python",
                "target_hardware": ["cpu"],
                "entry_point": "main.py::run",
                "destination_passing_style": False,
                **spec,
            },
            "sources": [{"path": "main.py", "content": text}],
        }
    )


def _task(
    *solutions: Solution, definition: Definition = DEFINITION, axes: dict[str, int] | None = None,
    uuid: str = "u", **inputs: object,
) -> Task:  # fmt: skip
    sources = {name: RandomInput() for name in definition.inputs}
    work = Workload(uuid=uuid, axes=axes or {"batch_size": 5}, inputs={**sources, **inputs})
    return Task(definition, work, list(solutions))


def _run(evaluator: Evaluator, *tasks: Task) -> list[Trace | str]:
    return list(evaluator.definition(tasks[0].definition, list(tasks)))


def _verdict(evaluator: Evaluator, text: str, **spec: object) -> Evaluation:
    (trace,) = _run(evaluator, _task(_solution(text, **spec)))
    assert isinstance(trace, Trace), trace
    assert trace.evaluation is not None
    return trace.evaluation


def test_a_right_solution_passes_with_all_its_numbers(evaluator: Evaluator) -> None:
    found = _verdict(evaluator, RIGHT)
    assert found.status is Status.PASSED, found.log
    assert found.performance is not None and found.correctness is not None
    assert found.performance.latency_ms > 0
    expected = found.performance.reference_latency_ms / found.performance.latency_ms
    assert found.performance.speedup_factor == pytest.approx(expected)
    extra = found.correctness.extra
    assert extra is not None
    assert extra["seed"] == QUICK.seed and extra["matched_ratio"] == 1.0
    assert extra["calls"] == extra["verified"] >= 1 + 1 + 2 * 4
    assert extra["timing"]["p10_ms"] <= extra["timing"]["median_ms"] <= extra["timing"]["p90_ms"]
    assert len(extra["timing"]["trials_ms"]) == 2
    assert extra["outputs"]["output"]["matched_ratio"] == 1.0
    assert extra["speed_of_light"]["bytes_moved"] > 0
    named = [name.partition(" ABI")[0] for name in extra["isolation"]]
    assert "own session" in named and {*named, *extra["isolation_absent"]} == {*MEASURES}
    assert found.environment.libs["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("text", "status", "word"),
    [
        ("def run(h, w):\n    return h * 1", Status.INCORRECT_NUMERICAL, "first call"),
        ("def run(h, w):\n    return h * float('nan')", Status.INCORRECT_NUMERICAL, "output"),
        ("def run(h, w):\n    return h[:1]", Status.INCORRECT_SHAPE, "expected (5, 64)"),
        ("def run(h, w):\n    return h, h", Status.INCORRECT_SHAPE, "2 outputs"),
        ("def run(h, w):\n    return h.float()", Status.INCORRECT_DTYPE, "bfloat16"),
        ("def run(h, w):\n    return None", Status.INCORRECT_DTYPE, "NoneType"),
        ("def run(h, w):\n    raise ValueError('boo')", Status.RUNTIME_ERROR, "main.py:2 in run"),
        ("def run(h):\n    return h", Status.RUNTIME_ERROR, "positional argument"),
        ("import os\ndef run(h, w):\n    os._exit(7)", Status.RUNTIME_ERROR, "exit code 7"),
        ("import os\ndef run(h, w):\n    os.abort()", Status.RUNTIME_ERROR, "SIGABRT"),
        ("def run(h, w):\n    raise SystemExit(0)", Status.RUNTIME_ERROR, "SystemExit"),
        ("def run(:\n", Status.COMPILE_ERROR, "SyntaxError"),
        ("import no_such_module\n", Status.COMPILE_ERROR, "no_such_module"),
        ("def other(h, w):\n    return h", Status.COMPILE_ERROR, "run"),
        ("import os\nos._exit(3)\n", Status.COMPILE_ERROR, "exit code 3"),
    ],
)
def test_every_failure_has_its_status(
    evaluator: Evaluator, text: str, status: Status, word: str
) -> None:
    found = _verdict(evaluator, text)
    assert found.status is status, found.log
    assert word in found.log
    assert found.performance is None
    assert str(evaluator.folder) not in found.log  # no path of this machine goes into a dataset


def test_a_hanging_solution_is_killed_with_its_children(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "settings", replace(QUICK, timeout=3.0))
    text = (
        "import subprocess, time\n"
        "def run(h, w):\n"
        "    child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "    print('child', child.pid, flush=True)\n"
        "    time.sleep(300)\n"
    )
    started = time.monotonic()
    found = _verdict(evaluator, text)
    assert time.monotonic() - started < 30
    assert found.status is Status.TIMEOUT
    assert "no end of 'call' within 3 s" in found.log
    assert not _alive(_printed_pid(found))


def test_children_of_a_finished_solution_do_not_stay(evaluator: Evaluator) -> None:
    text = RIGHT.replace(
        "def run(hidden_states, weight):\n",
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "print('child', child.pid, flush=True)\n"
        "def run(hidden_states, weight):\n",
    )
    found = _verdict(evaluator, text)
    assert found.status is Status.PASSED
    assert not _alive(_printed_pid(found))


def _printed_pid(found: Evaluation) -> int:
    (line,) = (line for line in found.log.splitlines() if line.startswith("child "))
    return int(line.split()[1])


def _alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for counts as gone."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


def test_destination_passing(evaluator: Evaluator) -> None:
    text = RIGHT.replace("(hidden_states, weight)", "(hidden_states, weight, output)").replace(
        "return x.to(hidden_states.dtype)", "output.copy_(x)"
    )
    found = _verdict(evaluator, text, destination_passing_style=True)
    assert found.status is Status.PASSED, found.log
    idle = "def run(hidden_states, weight, output):\n    pass\n"
    found = _verdict(evaluator, idle, destination_passing_style=True)
    assert found.status is Status.INCORRECT_NUMERICAL  # outputs start as poison, not as zeros


def test_writing_to_inputs_is_refused(evaluator: Evaluator) -> None:
    text = RIGHT.replace("return x.to(hidden_states.dtype)", "return hidden_states.copy_(x)")
    found = _verdict(evaluator, text)
    assert found.status is Status.INCORRECT_NUMERICAL
    assert "writes to its inputs: hidden_states" in found.log


def test_writing_beside_an_output_is_refused(evaluator: Evaluator) -> None:
    text = RIGHT.replace("(hidden_states, weight)", "(hidden_states, weight, output)").replace(
        "return x.to(hidden_states.dtype)",
        "output.copy_(x)\n"
        "    import ctypes\n"
        "    ctypes.memset(output.data_ptr() + output.nbytes, 7, 16)",
    )
    found = _verdict(evaluator, text, destination_passing_style=True)
    assert found.status is Status.INCORRECT_NUMERICAL
    assert "guard zone" in found.log


def test_one_bad_solution_does_not_cost_the_next(evaluator: Evaluator) -> None:
    bad = _solution("import os\ndef run(h, w):\n    os._exit(1)", "bad")
    traces = _run(evaluator, _task(bad, _solution(RIGHT, "good")))
    assert [(t.solution, t.evaluation.status) for t in traces] == [
        ("bad", Status.RUNTIME_ERROR),
        ("good", Status.PASSED),
    ]


def test_contents_differ_between_calls(evaluator: Evaluator) -> None:
    """A result kept from the first call is wrong afterwards."""
    text = RIGHT.replace("def run", "def fresh") + (
        "\nkept = []\n"
        "def run(hidden_states, weight):\n"
        "    kept.append(fresh(hidden_states, weight))\n"
        "    return kept[0]\n"
    )
    assert _verdict(evaluator, text).status is Status.INCORRECT_NUMERICAL


def test_setup_runs_before_and_apart(evaluator: Evaluator) -> None:
    definition = gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False)
    names = ", ".join(definition.inputs)
    text = (
        definition.reference.replace("def run(", "def right(")
        + "\nplans = []\n"
        + "def setup(kv_indptr, kv_indices):\n    plans.append(kv_indptr.tolist())\n"
        + f"def run({names}):\n"
        + "    assert plans[-1] == kv_indptr.tolist(), 'setup was not called for this index'\n"
        + f"    return right({names})\n"
    )
    axes = gqa_paged.FAMILY.small_axes(definition)
    solution = _solution(text, definition=definition)
    (trace,) = _run(evaluator, _task(solution, definition=definition, axes=axes))
    assert isinstance(trace, Trace), trace
    assert trace.evaluation.status is Status.PASSED, trace.evaluation.log
    assert trace.evaluation.correctness.extra["timing"]["setup_ms"] > 0


def test_setup_never_sees_values(evaluator: Evaluator) -> None:
    text = RIGHT + "\ndef setup(hidden_states):\n    raise AssertionError\n"
    found = _verdict(evaluator, text)
    assert found.status is Status.PASSED
    assert "setup(hidden_states) is not called" in found.log


def test_random_draws_are_judged_by_frequency(evaluator: Evaluator) -> None:
    definition = sampling.FAMILY.definition("top_p", 32)
    axes = {axis: 2 for axis in definition.var_axes}
    right = _solution(definition.reference, "right", definition)
    greedy = _solution(
        "def run(probs, top_p):\n    return probs.argmax(-1).to(__import__('torch').int64)\n",
        "greedy", definition,
    )  # fmt: skip
    traces = _run(evaluator, _task(right, greedy, definition=definition, axes=axes))
    assert [t.evaluation.status.value for t in traces] == ["PASSED", "INCORRECT_NUMERICAL"]


def test_the_seed_decides_about_the_inputs(dataset: Dataset) -> None:
    text = "def run(h, w):\n    return h * 1"
    errors = []
    for seed in (3, 3, 7):
        made = Plan(tasks=[_task(_solution(text))])
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
    (trace,) = _run(evaluator, _task(_solution(text), weight=recorded))
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
        given_inputs(dataset, _task(weight=source).workload)


def test_a_missing_blob_costs_its_workload_only(evaluator: Evaluator) -> None:
    absent = SafetensorsInput(path="absent.safetensors", tensor_key="w")
    right = _solution(RIGHT)
    found = _run(evaluator, _task(right, uuid="bad", weight=absent), _task(right, uuid="good"))
    assert isinstance(found[0], str) and "bad" in found[0] and "absent" in found[0]
    assert found[1].evaluation.status is Status.PASSED


def test_a_failing_reference_is_no_ones_verdict(evaluator: Evaluator) -> None:
    broken = DEFINITION.model_copy(
        update={"reference": "def run(hidden_states, weight):\n    raise OSError('broken')\n"}
    )
    (message,) = _run(evaluator, _task(_solution(RIGHT), definition=broken))
    assert isinstance(message, str) and "broken" in message


def test_a_workload_without_an_output_element_is_no_ones_verdict(evaluator: Evaluator) -> None:
    """Right and wrong look alike there; it was a RUNTIME_ERROR of the solution."""
    tasks = [_task(_solution(RIGHT), axes={"batch_size": size}, uuid=f"u{size}") for size in (0, 3)]
    message, trace = _run(evaluator, *tasks)
    assert isinstance(message, str) and "u0: no output has an element" in message
    assert isinstance(trace, Trace) and trace.evaluation.status is Status.PASSED


def test_traces_are_appended_as_they_come(dataset: Dataset) -> None:
    dataset.write_definition(DEFINITION)
    dataset.write_solution(_solution(RIGHT), DEFINITION)
    line = Trace(definition=DEFINITION.name, workload=_task().workload)
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
    (trace,) = run_plan(dataset, Plan(tasks=[_task(_solution(RIGHT))]), QUICK, dataset)
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
    found = _run(evaluator, _task(_solution(RIGHT, "first"), _solution(RIGHT, "second")))
    first, second = (trace.evaluation for trace in found)
    assert first.status is Status.RUNTIME_ERROR and "the verifier failed" in first.log
    assert second.status is Status.PASSED, second.log
    assert evaluator.verifier.process.pid != killed[0]


def test_a_killed_nursery_is_replaced(evaluator: Evaluator) -> None:
    evaluator.nursery.service.process.kill()
    evaluator.nursery.service.process.wait()
    assert _verdict(evaluator, RIGHT).status is Status.PASSED


def test_a_full_disk_is_one_clear_error(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset, "append_traces", full)
    with pytest.raises(KernelkitError, match="No space left on device.*--resume"):
        list(run_plan(dataset, Plan(tasks=[_task(_solution(RIGHT))]), QUICK, dataset))
