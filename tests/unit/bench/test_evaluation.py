"""Whole evaluations in real processes: every way in which a solution can end, and its verdict."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from kernelkit.bench.evaluation import Settings, evaluate, given_inputs, run_plan  # noqa: E402
from kernelkit.bench.selection import Filters, Plan, Task, plan  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Status, Trace  # noqa: E402
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, Workload  # noqa: E402
from kernelkit.errors import FormatError  # noqa: E402
from kernelkit.ops import rmsnorm  # noqa: E402

DEFINITION = rmsnorm.FAMILY.definition(64, 1e-5)
RIGHT = """
import torch.nn.functional as F

def run(hidden_states, weight):
    x = F.rms_norm(hidden_states.float(), (64,), weight.float(), 1e-5)
    return x.to(hidden_states.dtype)
"""
QUICK = Settings(warmup=1, iterations=4, max_seconds=1.0, timeout=60.0)


def _solution(text: str, name: str = "s", **spec: object) -> Solution:
    return Solution.model_validate(
        {
            "name": name,
            "definition": DEFINITION.name,
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
    *solutions: Solution, definition: Definition = DEFINITION, rows: int = 5, **inputs: object
) -> Task:
    sources = {name: RandomInput() for name in definition.inputs}
    work = Workload(uuid="u", axes={"batch_size": rows}, inputs={**sources, **inputs})
    return Task(definition, work, list(solutions))


def _verdict(dataset: Dataset, text: str, settings: Settings = QUICK, **spec: object) -> Trace:
    (trace,) = evaluate(dataset, _task(_solution(text, **spec)), settings)
    return trace


def test_a_right_solution_passes_with_all_its_numbers(dataset: Dataset) -> None:
    trace = _verdict(dataset, RIGHT)
    found = trace.evaluation
    assert found.status is Status.PASSED, found.log
    assert found.performance.latency_ms > 0
    expected = found.performance.reference_latency_ms / found.performance.latency_ms
    assert found.performance.speedup_factor == pytest.approx(expected)
    extra = found.correctness.extra
    assert (extra["seed"], extra["matched_ratio"], extra["input_sets"]) == (0, 1.0, 2)
    assert extra["timing"]["p20_ms"] <= extra["timing"]["p80_ms"]
    assert found.environment.libs["torch"] == torch.__version__
    assert Trace.model_validate_json(trace.to_line()).to_line() == trace.to_line()


@pytest.mark.parametrize(
    ("text", "status", "word"),
    [
        ("def run(h, w):\n    return h", Status.INCORRECT_NUMERICAL, "elements differ"),
        ("def run(h, w):\n    return h * float('nan')", Status.INCORRECT_NUMERICAL, "NaN"),
        ("def run(h, w):\n    return h[:1]", Status.INCORRECT_SHAPE, "expected (5, 64)"),
        ("def run(h, w):\n    return h, h", Status.INCORRECT_SHAPE, "2 outputs"),
        ("def run(h, w):\n    return h.float()", Status.INCORRECT_DTYPE, "bfloat16"),
        ("def run(h, w):\n    return None", Status.INCORRECT_DTYPE, "NoneType"),
        ("def run(h, w):\n    raise ValueError('boo')", Status.RUNTIME_ERROR, "main.py:2 in run"),
        ("def run(h):\n    return h", Status.RUNTIME_ERROR, "positional argument"),
        ("import os\ndef run(h, w):\n    os._exit(7)", Status.RUNTIME_ERROR, "ended with 7"),
        ("import os\ndef run(h, w):\n    os.abort()", Status.RUNTIME_ERROR, "ended with -6"),
        ("def run(h, w):\n    raise SystemExit(0)", Status.RUNTIME_ERROR, "SystemExit"),
        ("def run(:\n", Status.COMPILE_ERROR, "SyntaxError"),
        ("import no_such_module\n", Status.COMPILE_ERROR, "no_such_module"),
        ("def other(h, w):\n    return h", Status.COMPILE_ERROR, "run"),
    ],
)
def test_every_failure_has_its_status(
    dataset: Dataset, text: str, status: Status, word: str
) -> None:
    found = _verdict(dataset, text).evaluation
    assert found.status is status, found.log
    assert word in found.log
    assert found.performance is None
    assert "/tmp" not in found.log  # no path of this machine goes into a dataset


def test_a_hanging_solution_is_killed_with_its_children(dataset: Dataset, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    text = (
        "import subprocess, time\n"
        "def run(h, w):\n"
        "    child = subprocess.Popen(['sleep', '300'])\n"
        f"    open({str(note)!r}, 'w').write(str(child.pid))\n"
        "    time.sleep(300)\n"
    )
    started = time.monotonic()
    found = _verdict(dataset, text, Settings(timeout=3.0)).evaluation
    assert time.monotonic() - started < 30
    assert found.status is Status.TIMEOUT
    assert "in phase run" in found.log
    assert not _alive(int(note.read_text()))


def test_children_of_a_finished_solution_do_not_stay(dataset: Dataset, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    text = RIGHT.replace(
        "def run(hidden_states, weight):\n",
        "import subprocess\n"
        f"open({str(note)!r}, 'w').write(str(subprocess.Popen(['sleep', '300']).pid))\n"
        "def run(hidden_states, weight):\n",
    )
    assert _verdict(dataset, text).evaluation.status is Status.PASSED
    assert not _alive(int(note.read_text()))


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


def test_destination_passing(dataset: Dataset) -> None:
    text = RIGHT.replace("(hidden_states, weight)", "(hidden_states, weight, output)").replace(
        "return x.to(hidden_states.dtype)", "output.copy_(x)"
    )
    found = _verdict(dataset, text, destination_passing_style=True).evaluation
    assert found.status is Status.PASSED, found.log
    idle = "def run(hidden_states, weight, output):\n    pass\n"
    found = _verdict(dataset, idle, destination_passing_style=True).evaluation
    assert found.status is Status.INCORRECT_NUMERICAL  # outputs start as NaN, not as zeros


def test_writing_to_inputs_is_noted_and_harmless(dataset: Dataset) -> None:
    text = RIGHT.replace("return x.to(hidden_states.dtype)", "return hidden_states.copy_(x)")
    found = _verdict(dataset, text).evaluation
    assert found.status is Status.PASSED, found.log
    assert "writes to its inputs (hidden_states)" in found.log


def test_one_bad_solution_does_not_cost_the_next(dataset: Dataset) -> None:
    bad = _solution("import os\ndef run(h, w):\n    os._exit(1)", "bad")
    traces = list(evaluate(dataset, _task(bad, _solution(RIGHT, "good")), QUICK))
    assert [(t.solution, t.evaluation.status) for t in traces] == [
        ("bad", Status.RUNTIME_ERROR),
        ("good", Status.PASSED),
    ]


def test_inputs_differ_between_calls(dataset: Dataset) -> None:
    """A result kept from the first call is wrong on the second set."""
    text = RIGHT.replace("def run", "def fresh") + (
        "\nkept = []\n"
        "def run(hidden_states, weight):\n"
        "    kept.append(fresh(hidden_states, weight))\n"
        "    return kept[0]\n"
    )
    assert _verdict(dataset, text).evaluation.status is Status.INCORRECT_NUMERICAL


def test_the_seed_decides_about_the_inputs(dataset: Dataset) -> None:
    text = "def run(h, w):\n    return h"
    errors = [
        _verdict(dataset, text, Settings(seed=seed)).evaluation.correctness.max_absolute_error
        for seed in (0, 0, 7)
    ]
    assert errors[0] == errors[1] != errors[2]


def test_recorded_tensors_reach_the_solution(dataset: Dataset) -> None:
    weight = torch.full((64,), 3.0, dtype=torch.bfloat16)
    save_file({"w": weight}, dataset.root / "blob.safetensors")
    recorded = SafetensorsInput(path="blob.safetensors", tensor_key="w")
    text = RIGHT.replace(
        "def run(hidden_states, weight):\n",
        "def run(hidden_states, weight):\n    assert (weight == 3).all()\n",
    )
    (trace,) = evaluate(dataset, _task(_solution(text), weight=recorded), QUICK)
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


def test_a_failing_reference_is_no_ones_verdict(dataset: Dataset) -> None:
    broken = DEFINITION.model_copy(
        update={"reference": "def run(hidden_states, weight):\n    raise OSError('broken')\n"}
    )
    task = _task(_solution(RIGHT), definition=broken)
    (message,) = run_plan(dataset, Plan(tasks=[task]), QUICK)
    assert "the reference failed" in message and "broken" in message
    assert not dataset.trace_path(DEFINITION).exists()


def test_traces_are_appended_as_they_come(dataset: Dataset) -> None:
    dataset.write_definition(DEFINITION)
    dataset.write_solution(_solution(RIGHT), DEFINITION)
    line = Trace(definition=DEFINITION.name, workload=_task().workload)
    dataset.write_workloads(DEFINITION, [line])
    for expected in (1, 2):
        (trace,) = run_plan(dataset, plan(dataset, Filters()), QUICK)
        assert isinstance(trace, Trace)
        assert len(dataset.traces_of(DEFINITION)) == expected
    assert plan(dataset, Filters(resume=True)).resumed == 1


def test_no_temporary_files_stay(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(os.listdir(tmp_path))
    assert _verdict(dataset, RIGHT).evaluation.status is Status.PASSED
    assert {name for name in set(os.listdir(tmp_path)) - before if "kernelkit" in name} == set()


def test_outputs_that_are_no_tensors_file(dataset: Dataset) -> None:
    times = json.dumps({"ok": True, "times": TIMES})
    text = (
        "import os\n"
        "def run(h, w):\n"
        f"    open('result.json', 'w').write({times!r})\n"
        "    open('outputs0.safetensors', 'wb').write(b'\\xff' * 100)\n"
        "    os._exit(0)\n"
    )
    found = _verdict(dataset, text).evaluation
    assert found.status is Status.RUNTIME_ERROR
    assert "outputs cannot be read" in found.log


TIMES = {"median_ms": 1.0, "p20_ms": 1.0, "p80_ms": 1.0, "samples": 3, "method": "x"}


@pytest.mark.parametrize(
    ("result", "word"),
    [
        ({"ok": True, "times": TIMES}, "outputs cannot be read"),
        ({"ok": True, "times": {**TIMES, "median_ms": 0.0}}, "no times"),
        ({"ok": True, "times": {**TIMES, "median_ms": "1"}}, "no times"),
        ({"ok": True, "times": {"median_ms": 1.0}}, "no times"),
        ({"ok": True}, "no times"),
        ({"ok": False, "status": "PASSED", "error": "no"}, "no"),
        ({"ok": False, "status": ["x"]}, "ended with 0"),
        ([], "ended with 0"),
    ],
)
def test_a_forged_result_file_is_no_pass(dataset: Dataset, result: object, word: str) -> None:
    text = (
        "import os\n"
        "def run(h, w):\n"
        f"    open('result.json', 'w').write({json.dumps(result)!r})\n"
        "    os._exit(0)\n"
    )
    found = _verdict(dataset, text).evaluation
    assert found.status is Status.RUNTIME_ERROR
    assert word in found.log
