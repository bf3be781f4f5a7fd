"""Whole evaluations in real processes: every way in which a solution can end, and its verdict."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from evaluated import QUICK, RIGHT, run_tasks, solution_of, task_of, verdict_of  # noqa: E402

from kernelkit.bench.evaluation import Evaluator  # noqa: E402
from kernelkit.bench.isolation.sandbox import MEASURES  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.trace import Evaluation, Status, Trace  # noqa: E402
from kernelkit.ops import gqa_paged, sampling  # noqa: E402


def test_a_right_solution_passes_with_all_its_numbers(evaluator: Evaluator) -> None:
    found = verdict_of(evaluator, RIGHT)
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
    found = verdict_of(evaluator, text)
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
    found = verdict_of(evaluator, text)
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
    found = verdict_of(evaluator, text)
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
    found = verdict_of(evaluator, text, destination_passing_style=True)
    assert found.status is Status.PASSED, found.log
    idle = "def run(hidden_states, weight, output):\n    pass\n"
    found = verdict_of(evaluator, idle, destination_passing_style=True)
    assert found.status is Status.INCORRECT_NUMERICAL  # outputs start as poison, not as zeros


def test_writing_to_inputs_is_refused(evaluator: Evaluator) -> None:
    text = RIGHT.replace("return x.to(hidden_states.dtype)", "return hidden_states.copy_(x)")
    found = verdict_of(evaluator, text)
    assert found.status is Status.INCORRECT_NUMERICAL
    assert "writes to its inputs: hidden_states" in found.log


def test_writing_beside_an_output_is_refused(evaluator: Evaluator) -> None:
    text = RIGHT.replace("(hidden_states, weight)", "(hidden_states, weight, output)").replace(
        "return x.to(hidden_states.dtype)",
        "output.copy_(x)\n"
        "    import ctypes\n"
        "    ctypes.memset(output.data_ptr() + output.nbytes, 7, 16)",
    )
    found = verdict_of(evaluator, text, destination_passing_style=True)
    assert found.status is Status.INCORRECT_NUMERICAL
    assert "guard zone" in found.log


def test_one_bad_solution_does_not_cost_the_next(evaluator: Evaluator) -> None:
    bad = solution_of("import os\ndef run(h, w):\n    os._exit(1)", "bad")
    traces = run_tasks(evaluator, task_of(bad, solution_of(RIGHT, "good")))
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
    assert verdict_of(evaluator, text).status is Status.INCORRECT_NUMERICAL


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
    solution = solution_of(text, definition=definition)
    (trace,) = run_tasks(evaluator, task_of(solution, definition=definition, axes=axes))
    assert isinstance(trace, Trace), trace
    assert trace.evaluation.status is Status.PASSED, trace.evaluation.log
    assert trace.evaluation.correctness.extra["timing"]["setup_ms"] > 0


def test_setup_never_sees_values(evaluator: Evaluator) -> None:
    text = RIGHT + "\ndef setup(hidden_states):\n    raise AssertionError\n"
    found = verdict_of(evaluator, text)
    assert found.status is Status.PASSED
    assert "setup(hidden_states) is not called" in found.log


def _doubled(dtypes: dict[str, str]) -> Definition:
    """An op over integers: the sum of its inputs."""
    names = ", ".join(dtypes)
    return Definition.model_validate({
        "name": "sum_of_" + "_".join(dtypes), "op_type": "sum_of",
        "axes": {"n": {"type": "var"}},
        "inputs": {name: {"shape": ["n"], "dtype": dtype} for name, dtype in dtypes.items()},
        "outputs": {"output": {"shape": ["n"], "dtype": "int32"}},
        "reference": f"import torch\n\ndef run({names}):\n"
                     f"    return sum(x.to(torch.int32) for x in ({names},))\n",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("dtypes", "wanted"),
    [({"q": "int32", "k": "int8"}, "k"), ({"q": "int32", "k": "int32"}, "q, k")],
    ids=["values of a byte", "all there is"],
)
def test_setup_does_not_get_the_work_itself(
    evaluator: Evaluator, dtypes: dict[str, str], wanted: str
) -> None:
    definition = _doubled(dtypes)
    text = definition.reference + f"\ndef setup({wanted}):\n    raise AssertionError\n"
    solution = solution_of(text, definition=definition)
    (trace,) = run_tasks(evaluator, task_of(solution, definition=definition, axes={"n": 64}))
    assert isinstance(trace, Trace), trace
    assert trace.evaluation.status is Status.PASSED, trace.evaluation.log
    assert f"setup({wanted}) is not called" in trace.evaluation.log


@pytest.mark.parametrize("kinds", [["int8"], ["int64", "int32"], ["bool", "int32"]])
def test_a_result_over_integers_cannot_be_kept(evaluator: Evaluator, kinds: list[str]) -> None:
    definition = _doubled({f"x{number}_{kind}": kind for number, kind in enumerate(kinds)})
    kept = "\nkept = []\ndef run(*x):\n    kept.append(fresh(*x))\n    return kept[0]\n"
    text = definition.reference.replace("def run", "def fresh") + kept
    for program, status in ((definition.reference, "PASSED"), (text, "INCORRECT_NUMERICAL")):
        solution = solution_of(program, definition=definition)
        (trace,) = run_tasks(evaluator, task_of(solution, definition=definition, axes={"n": 500}))
        assert isinstance(trace, Trace), trace
        assert trace.evaluation.status.value == status, trace.evaluation.log


def test_workloads_of_equal_axes_have_contents_of_their_own(evaluator: Evaluator) -> None:
    """A result kept from one workload is in none of the next."""
    text = RIGHT.replace("def run", "def fresh") + (
        "\nseen = set()\n"
        "def run(hidden_states, weight):\n"
        "    key = bytes(hidden_states.view(-1)[:8].float().numpy())\n"
        "    assert key not in seen, 'seen before'\n"
        "    seen.add(key)\n"
        "    return fresh(hidden_states, weight)\n"
    )
    solution = solution_of(text)
    axes = {"batch_size": 200}  # so many that no contents come twice by chance
    tasks = [task_of(solution, axes=axes, uuid=uuid) for uuid in ("one", "two")]
    for trace in run_tasks(evaluator, *tasks):
        assert isinstance(trace, Trace), trace
        assert trace.evaluation.status is Status.PASSED, trace.evaluation.log


def test_random_draws_are_judged_by_frequency(evaluator: Evaluator) -> None:
    definition = sampling.FAMILY.definition("top_p", 32)
    axes = {axis: 2 for axis in definition.var_axes}
    right = solution_of(definition.reference, "right", definition)
    greedy = solution_of(
        "def run(probs, top_p):\n    return probs.argmax(-1).to(__import__('torch').int64)\n",
        "greedy", definition,
    )  # fmt: skip
    traces = run_tasks(evaluator, task_of(right, greedy, definition=definition, axes=axes))
    assert [t.evaluation.status.value for t in traces] == ["PASSED", "INCORRECT_NUMERICAL"]
