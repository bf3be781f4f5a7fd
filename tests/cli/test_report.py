"""report.py: reads only, needs no torch, writes one file, in five forms."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import gemm

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "report.py"
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


def _line(solution: str, size: int, latency: float | None) -> str:
    """A trace as flashinfer-bench writes it: without this pack's facts."""
    evaluation: dict = {
        "status": "PASSED" if latency else "COMPILE_ERROR", "log": "" if latency else "no such op",
        "timestamp": "2026-01-01T00:00:00", "environment": {"hardware": "NVIDIA H200", "libs": {}},
        "correctness": None, "performance": None,
    }  # fmt: skip
    if latency:
        evaluation["correctness"] = {"max_absolute_error": 0.0, "max_relative_error": 0.0}
        evaluation["performance"] = {
            "latency_ms": latency, "reference_latency_ms": 1.0, "speedup_factor": 1 / latency,
        }  # fmt: skip
    workload = {"uuid": f"w{size}", "axes": {"M": size},
                "inputs": {"A": {"type": "random"}, "B": {"type": "random"}}}  # fmt: skip
    return json.dumps({"definition": GEMM.name, "solution": solution, "workload": workload,
                       "evaluation": evaluation})  # fmt: skip


@pytest.fixture
def small(dataset: Dataset) -> Path:
    """One definition and nothing else."""
    dataset.write_definition(GEMM)
    return dataset.root


@pytest.fixture
def measured(small: Path) -> Path:
    """Three traces, of which one failed, and a line that is none."""
    path = Dataset.open(small).trace_path(GEMM)
    path.parent.mkdir(parents=True)
    lines = [_line("a", 1, 0.5), _line("a", 2, 0.25), _line("b", 1, None), "{not json"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return small


def test_an_empty_dataset_is_nothing_to_report(dataset: Dataset) -> None:
    done = _run("--dataset", dataset.root)
    assert done.returncode == 4
    assert done.stdout == ""


def test_the_dataset_stays_as_it_is(measured: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in measured.rglob("*") if p.is_file()}
    page = tmp_path / "new" / "r.html"
    done = _run("--dataset", measured, "-o", page, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["without_workloads"] == [GEMM.name]
    assert document["output"] == str(page)
    assert {p: p.read_bytes() for p in measured.rglob("*") if p.is_file()} == before
    assert "report.py" in page.read_text(encoding="utf-8")


def test_no_torch(measured: Path, tmp_path: Path) -> None:
    watch = (
        "import runpy, sys\n"
        "sys.modules['torch'] = None\n"  # importing it raises
        f"sys.argv = ['x', '--dataset', {str(measured)!r}, '-o', {str(tmp_path / 'r.html')!r}]\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.html").is_file()


def test_the_table_is_the_default(measured: Path) -> None:
    done = _run("--dataset", measured)
    assert done.returncode == 0
    assert "COMPILE_ERROR: b on M=1\n    no such op" in done.stdout
    assert "3 traces: 1 COMPILE_ERROR, 2 PASSED" in done.stdout
    assert f"skipped: traces/gemm/{GEMM.name}.jsonl:4: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json", "html"])
def test_each_format_on_stdout_and_in_a_file(measured: Path, tmp_path: Path, form: str) -> None:
    done = _run("--dataset", measured, "--format", form)
    assert done.returncode == 0, done.stderr
    start = {"table": "NVIDIA H200: ", "markdown": "# Kernel report", "csv": "op_type,definition",
             "json": "{\n", "html": "<!doctype html>"}[form]  # fmt: skip
    assert done.stdout.lstrip().startswith(start)
    path = tmp_path / "report.out"
    done = _run("--dataset", measured, "--format", form, "-o", path)
    assert done.returncode == 0
    assert path.read_text(encoding="utf-8").lstrip().startswith(start)
    assert done.stdout.startswith("3 traces:") and f"report: {path}" in done.stderr


@pytest.mark.parametrize(
    ("name", "start"),
    [("r.md", "# "), ("r.csv", "op_type,"), ("r.json", "{"), ("r.HTML", "<!doc"), ("r.txt", "NV")],
)
def test_the_suffix_names_the_format(measured: Path, tmp_path: Path, name: str, start: str) -> None:
    assert _run("--dataset", measured, "-o", tmp_path / name).returncode == 0
    assert (tmp_path / name).read_text(encoding="utf-8").lstrip().startswith(start)


def test_json_wins_on_stdout_and_the_file_keeps_its_format(measured: Path, tmp_path: Path) -> None:
    done = _run("--dataset", measured, "--json", "--format", "csv")
    assert {row["solution"] for row in json.loads(done.stdout)["traces"]} == {"a", "b"}
    path = tmp_path / "x"
    done = _run("--dataset", measured, "--json", "--format", "csv", "-o", path)
    assert json.loads(done.stdout)["output"] == str(path)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [row["status"] for row in rows].count("PASSED") == 2


def test_a_baseline_and_a_choice(measured: Path) -> None:
    done = _run("--dataset", measured, "--baseline", "a", "--solutions", "b", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert [row["solution"] for row in document["traces"]] == ["b"]
    assert document["baseline"] == "a"
    (score,) = document["scores"]
    assert (score["passed"], score["failed"], score["not_run"], score["geomean"]) == (0, 1, 1, 0)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--definitions", "absent"), 2, "no such definition"),
        (("--op-types", "absent"), 2, "no such op type"),
        (("--solutions", "absent"), 2, "no such solution"),
        (("--baseline", "absent"), 2, "no such solution with a trace"),
        (("-o", "report.pdf"), 2, "the file's suffix tells no format"),
        (("-o", "/dev/null/x.html"), 2, "cannot write"),
        (("--format", "pdf"), 2, "invalid choice"),
    ],
)
def test_bad_input_is_one_clear_error(
    measured: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    done = _run("--dataset", measured, *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_wrong_dataset_path_makes_nothing(tmp_path: Path) -> None:
    done = _run("--dataset", tmp_path / "absent", "-o", tmp_path / "r.html")
    assert done.returncode == 2
    assert "no such dataset" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_definition_without_traces_is_a_report(small: Path) -> None:
    done = _run("--dataset", small)
    assert done.returncode == 0
    assert f"no recorded workload (1): {GEMM.name}" in done.stdout
