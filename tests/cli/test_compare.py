"""compare.py: two solutions of a dataset, or two trace files; verdicts and exit codes."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import gemm

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "compare.py"
GEMM = gemm.FAMILY.definition(64, 64)


class Done(NamedTuple):
    """What a run came to."""

    returncode: int
    stdout: str
    stderr: str


def _run(*words: object) -> Done:
    """The script's `main`, in this process: a process of its own costs a second each."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = module.main([str(word) for word in words])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def _line(solution: str, size: int, latency: float, *, noise: float | None = 0.01,
          hardware: str = "GPU") -> str:  # fmt: skip
    timing = {} if noise is None else {"timing": {"relative_error": noise}}
    workload = {"uuid": f"w{size}", "axes": {"M": size},
                "inputs": {"A": {"type": "random"}, "B": {"type": "random"}}}  # fmt: skip
    evaluation = {
        "status": "PASSED", "timestamp": "2026-01-01T00:00:00Z",
        "environment": {"hardware": hardware, "libs": {}},
        "correctness": {"extra": timing},
        "performance": {"latency_ms": latency, "reference_latency_ms": 1.0,
                        "speedup_factor": 1 / latency},
    }  # fmt: skip
    return json.dumps({"definition": GEMM.name, "solution": solution, "workload": workload,
                       "evaluation": evaluation})  # fmt: skip


def _write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def measured(dataset: Dataset) -> Path:
    """old and twice as fast new on two workloads, and a bad line."""
    lines = [_line(name, size, size * factor) for name, factor in (("old", 1.0), ("new", 0.5))
             for size in (1, 2)]  # fmt: skip
    _write(dataset.trace_path(GEMM), *lines, "{", _line("elsewhere", 1, 1.0, hardware="Other"))
    return dataset.root


def test_two_solutions_of_a_dataset(measured: Path) -> None:
    done = _run("old", "new", "--dataset", measured)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("faster ") and "M=1" in lines[0] and "2.00x" in lines[0]
    assert "rule: B is faster or slower where latency" in done.stdout
    assert lines[-1].startswith("B is faster: geometric mean 2.000x")
    assert "skipped: gemm_n64_k64.jsonl:5" in done.stderr


def test_json_is_one_document(measured: Path) -> None:
    done = _run("new", "old", "--dataset", measured, "--json")
    document = json.loads(done.stdout)
    assert (document["verdict"], document["counts"]) == ("slower", {"slower": 2})
    assert (document["a"], document["b"]) == ("new", "old")
    assert document["speedup"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("old", "new"), 0),
        (("new", "old"), 1),
        (("old", "old"), 0),
        (("new", "old", "--min-change", "0.99"), 1),
    ],
)
def test_fail_if_slower(measured: Path, words: tuple[str, ...], code: int) -> None:
    assert _run(*words, "--dataset", measured).returncode == 0
    done = _run(*words, "--dataset", measured, "--fail-if-slower")
    assert done.returncode == code, done.stdout + done.stderr


def test_without_noise_nothing_is_decided(tmp_path: Path) -> None:
    before = _write(tmp_path / "a.jsonl", _line("s", 1, 1.0, noise=None))
    after = _write(tmp_path / "b.jsonl", _line("s", 1, 2.0, noise=None))
    done = _run(before, after)
    assert done.returncode == 0
    assert "undecided" in done.stdout and "no measured noise" in done.stdout
    done = _run(before, after, "--fail-if-slower")
    assert done.returncode == 1
    assert "cannot tell whether B is slower" in done.stderr
    assert _run(before, after, "--noise", "0.02", "--fail-if-slower").returncode == 1
    assert _run(after, before, "--noise", "0.02", "--fail-if-slower").returncode == 0


def test_two_files_match_by_solution(tmp_path: Path) -> None:
    before = _write(tmp_path / "a.jsonl", _line("x", 1, 1.0), _line("y", 1, 9.0))
    after = _write(tmp_path / "b.jsonl", _line("x", 1, 1.0), _line("y", 1, 3.0))
    document = json.loads(_run(before, after, "--json").stdout)
    found = {one["solution_a"]: one["verdict"] for one in document["comparisons"]}
    assert found == {"x": "same", "y": "faster"}


def test_one_solution_each_may_have_two_names(tmp_path: Path) -> None:
    before = _write(tmp_path / "a.jsonl", _line("v1", 1, 1.0))
    after = _write(tmp_path / "b.jsonl", _line("v2", 1, 2.0))
    document = json.loads(_run(before, after, "--json").stdout)
    (one,) = document["comparisons"]
    assert (one["solution_a"], one["solution_b"], one["verdict"]) == ("v1", "v2", "slower")


def test_two_datasets(measured: Path, tmp_path: Path) -> None:
    other = Dataset.create(tmp_path / "other")
    _write(other.trace_path(GEMM), _line("old", 1, 0.1), _line("new", 1, 0.5))
    document = json.loads(_run(measured, other.root, "--json").stdout)
    found = {one["solution_a"]: one["verdict"] for one in document["comparisons"]}
    assert found == {"old": "faster", "new": "same"}
    assert document["only_a"] == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("old", "absent"), 2, "no trace of this solution"),
        (("old", "elsewhere"), 4, "not run on a common workload and hardware"),
        (("old", "new", "--noise", "2"), 2, "not a number from 0 to 1"),
        (("old",), 2, "the following arguments are required: B"),
    ],
)
def test_bad_input(measured: Path, words: tuple[str, ...], code: int, message: str) -> None:
    done = _run(*words, "--dataset", measured)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_paths_that_are_not_there(measured: Path, tmp_path: Path) -> None:
    done = _run("old", "new")
    assert done.returncode == 2
    assert "no such trace file or dataset" in done.stderr and "--dataset" in done.stderr
    empty = _write(tmp_path / "empty.jsonl", "")
    assert _run(empty, empty).returncode == 4


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    line = _line("x", 1, 1.0).replace(GEMM.name, "\\u001b[2Jd")
    path = _write(tmp_path / "a.jsonl", line)
    done = _run(path, path)
    assert "\\x1b[2Jd" in done.stdout and "\x1b" not in done.stdout
