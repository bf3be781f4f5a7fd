"""deploy_solutions.py: the folder, its renewal, and exit codes. What is in it: tests/unit."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from pathlib import Path

import pytest

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.ops import family

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "deploy_solutions.py"
NORMS = [family("rmsnorm").definition(size, 1e-6) for size in (64, 128)]


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """Two norms with a passing solution each, and a GEMM."""
    dataset.write_definition(family("gemm").definition(8, 8))
    for definition in NORMS:
        dataset.write_definition(definition)
        made = Solution.model_validate({
            "name": f"own_{definition.name}", "definition": definition.name, "author": "me",
            "spec": {"language": "python", "target_hardware": ["cuda"],
                     "entry_point": "main.py::run", "destination_passing_style": False},
            "sources": [{"path": "main.py", "content": definition.reference}],
        })  # fmt: skip
        dataset.write_solution(made, definition)
        work = {"uuid": "u", "axes": {"batch_size": 2},
                "inputs": {name: {"type": "random"} for name in definition.inputs}}  # fmt: skip
        times = {"latency_ms": 1.0, "reference_latency_ms": 2.0, "speedup_factor": 2.0}
        verdict = {"status": "PASSED", "environment": {"hardware": "H200"}, "correctness": {},
                   "performance": times, "timestamp": "2026-01-01T00:00:00"}  # fmt: skip
        trace = {"definition": definition.name, "workload": work}
        dataset.write_workloads(definition, [Trace.model_validate(trace)])
        trace |= {"solution": made.name, "evaluation": verdict}
        dataset.append_traces(definition, [Trace.model_validate(trace)])
    return dataset


def run(dataset: Dataset, *words: object) -> tuple[int, dict[str, object], str]:
    """Exit code, the JSON document if there is one, and stderr; in this process, for speed."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = module.main(["--dataset", str(dataset.root), "--json", *map(str, words)])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


def test_written_renewed_and_reduced(filled: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "apply"
    code, found, _ = run(filled, "--dry-run")
    assert code == 0 and [c["live_name"] for c in found["choices"] if c["solution"]] == [
        "rmsnorm_h128", "rmsnorm_h64",
    ]  # fmt: skip
    assert run(filled, "--output", folder)[0] == 0
    assert len(list((folder / "solutions").rglob("*.json"))) == 2
    assert run(filled, "--output", folder)[1]["changed_files"] == 0
    code, found, _ = run(filled, "--output", folder, "--definitions", "rmsnorm_h64")
    assert [p.stem for p in (folder / "solutions").rglob("*.json")] == ["rmsnorm_h64"]
    assert "rmsnorm_h128" not in (folder / "README.md").read_text()
    (row,) = json.loads((folder / "deployment.json").read_text())["deployed"]
    assert row["speedup_over_reference"] == 2.0 and "eps=1e-06" in row["assumes"]


def test_another_folder_is_left_alone(filled: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    code, _, said = run(filled, "--output", tmp_path)
    assert code == 2 and "holds no deployment.json" in said
    (tmp_path / "deployment.json").write_text("[]")
    assert run(filled, "--output", tmp_path)[0] == 1
    assert (tmp_path / "mine").read_text() == "x" and not (tmp_path / "solutions").exists()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "--output DIR"),
        (("--dry-run", "--check"), 2, "needs a folder"),
        (("--dry-run", "--op-types", "gemm"), 4, "has a solution to deploy"),
        (("--dry-run", "--op-types", "moe"), 4, "no definition of the dataset is selected"),
        (("--dry-run", "--hardware", "B200"), 2, "allowed: H200"),
        (("--output", "out", "--check", "--device", "cuda:99"), 3, "no such CUDA device"),
    ],
)
def test_exit_codes(filled: Dataset, words: tuple[str, ...], code: int, text: str) -> None:
    got, _, said = run(filled, *words)
    assert got == code and text in said, said
