"""validate_dataset.py from the command line: exit codes, JSON, selection, speed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import family

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "validate_dataset.py"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own."""
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def norms(dataset: Dataset) -> Dataset:
    """Two sound definitions."""
    for size in (64, 128):
        dataset.write_definition(family("rmsnorm").definition(size, 1e-6))
    return dataset


def test_clean(norms: Dataset) -> None:
    done = run("--dataset", norms.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("0 errors, 0 warnings")


def test_errors_fail_and_name_place_and_fix(norms: Dataset) -> None:
    path = norms.root / "definitions/rmsnorm/rmsnorm_h64.json"
    path.write_text(path.read_text().replace('"bfloat16"', '"uint8"', 1))
    done = run("--dataset", norms.root)
    assert done.returncode == 1
    assert "error S1 definitions/rmsnorm/rmsnorm_h64.json inputs.hidden_states.dtype" in done.stdout
    document = json.loads(run("--dataset", norms.root, "--json").stdout)
    assert document["summary"]["errors"] == 1
    assert document["findings"][0]["code"] == "S1"
    assert run("--dataset", norms.root, "--definitions", "rmsnorm_h128").returncode == 0


def test_warnings_fail_only_when_strict(norms: Dataset) -> None:
    path = norms.root / "definitions/rmsnorm/rmsnorm_h64.json"
    path.write_text(path.read_text().replace('"description"', '"descripton"', 1))
    assert run("--dataset", norms.root).returncode == 0
    assert run("--dataset", norms.root, "--strict").returncode == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--definitions", "rmsnorm_h65"], 4, "rmsnorm_h64"),
        (["--definitions", "rmsnorm_h64,absent"], 4, "absent"),
        (["--op-types", "norms"], 4, "rmsnorm"),
        (["--checks", "speling"], 2, "layout"),
        (["--timeout", "0"], 2, "seconds above 0"),
        (["--timeout", "nan"], 2, "seconds above 0"),
    ],
)
def test_bad_selection(norms: Dataset, words: list[str], code: int, message: str) -> None:
    done = run("--dataset", norms.root, *words)
    assert done.returncode == code and done.stdout == ""
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_missing_and_empty_datasets(tmp_path: Path, dataset: Dataset) -> None:
    assert run("--dataset", tmp_path / "absent").returncode == 2
    assert run("--dataset", dataset.root).returncode == 4


def test_smoke(norms: Dataset) -> None:
    pytest.importorskip("torch")
    path = norms.root / "definitions/rmsnorm/rmsnorm_h64.json"
    path.write_text(path.read_text().replace("EPS)", "EPS) / 0"))
    done = run("--dataset", norms.root, "--smoke", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1 and document["summary"]["references run"] == 2
    assert [finding["code"] for finding in document["findings"]] == ["R14"]


def test_a_reference_that_is_too_large_is_not_counted_as_run(dataset: Dataset) -> None:
    pytest.importorskip("torch")
    for size in (64, 60_000):  # a weight of 8 KiB, and one of 6.7 GiB
        dataset.write_definition(family("gemm").definition(size, size))
    done = run("--dataset", dataset.root, "--smoke", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0 and document["summary"]["references run"] == 1
    assert [finding["code"] for finding in document["findings"]] == ["R16"]


def test_a_large_dataset_is_checked_in_seconds_without_torch(dataset: Dataset) -> None:
    for size in range(1, 161):
        definition = family("gemm").definition(size, 64)
        dataset.write_definition(definition)
        lines = "".join(
            json.dumps({"definition": definition.name, "solution": None, "evaluation": None,
                        "workload": {"uuid": f"{size}-{m}", "axes": {"M": m + 1}, "inputs": {
                            "A": {"type": "random"}, "B": {"type": "random"}}}}) + "\n"
            for m in range(13)
        )  # fmt: skip
        path = dataset.workload_path(definition)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)
    start = time.perf_counter()
    done = run("--dataset", dataset.root)
    assert done.returncode == 0 and "160 definitions, 2080 workloads" in done.stdout
    assert time.perf_counter() - start < 5
