"""add_reference_tests.py as a person runs it: the files, and errors."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.ops import family  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
GEMM = family("gemm").definition(24, 64)
NORM = family("rmsnorm").definition(128, 1e-5)


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "add_reference_tests.py"), *map(str, words)]
    environment = {**os.environ, "REFERENCE_TEST_DEVICE": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """A GEMM and a norm."""
    for definition in (GEMM, NORM):
        dataset.write_definition(definition)
    return dataset


def _test_file(dataset: Dataset, definition: Definition) -> Path:
    return dataset.root / "tests" / "references" / f"test_{definition.name}.py"


def test_writes_once(filled: Dataset) -> None:
    done = _run("--dataset", filled.root, "--all", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["totals"] == {"new": 2}
    assert [row["ground_truth"] for row in document["tests"]] == [
        ["torch"],
        ["flashinfer", "torch"],
    ]
    before = {p: p.stat().st_mtime_ns for p in (filled.root / "tests").rglob("*")}
    assert json.loads(_run("--dataset", filled.root, "--all", "--json").stdout)["totals"] == {
        "unchanged": 2
    }
    assert {p: p.stat().st_mtime_ns for p in (filled.root / "tests").rglob("*")} == before


def test_a_file_needs_nothing_of_this_pack(filled: Dataset) -> None:
    _run("--dataset", filled.root, "--all")
    for definition in (GEMM, NORM):
        tree = ast.parse(_test_file(filled, definition).read_text(encoding="utf-8"))
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        assert imported - set(sys.stdlib_module_names) <= {"torch", "pytest", "flashinfer"}


def test_dry_run_writes_nothing(filled: Dataset) -> None:
    done = _run("--dataset", filled.root, "--op-type", "gemm", "--dry-run")
    assert done.returncode == 0 and "dry run: 1 new" in done.stdout
    assert not (filled.root / "tests").exists()


def test_edits_are_kept(filled: Dataset) -> None:
    words = ("--dataset", filled.root, "--definition-name", GEMM.name)
    _run(*words)
    path = _test_file(filled, GEMM)
    path.write_text(path.read_text().replace("SEED = ", "SEED = 1 + "), encoding="utf-8")
    done = _run(*words, "--test-sizes", "small")
    assert done.returncode == 0 and "1 kept" in done.stdout
    assert "SEED = 1 + " in path.read_text()
    done = _run(*words, "--test-sizes", "small", "--force")
    assert "1 overwritten" in done.stdout
    assert "SEED = 1 + " not in path.read_text() and '"large"' not in path.read_text()
    # An unedited file follows the options.
    assert "1 renewed" in _run(*words, "--tolerance", "1e-4").stdout
    assert "rtol=0.0001" in path.read_text()


def test_a_bad_file_hides_no_other(filled: Dataset) -> None:
    (filled.root / "definitions" / "gemm" / "broken.json").write_text("{", encoding="utf-8")
    done = _run("--dataset", filled.root, "--all")
    assert done.returncode == 1
    assert "broken.json" in done.stderr and "2 new" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--definition-name", "nobody"), 2, "no such definition"),
        (("--op-type", "nothing"), 4, "gemm, rmsnorm"),
        (("--all", "--op-type", "gemm"), 2, "not allowed with"),
        ((), 2, "is required"),
        (("--all", "--test-sizes", "tiny"), 2, "no such size"),
        (("--all", "--tolerance", "0"), 2, "not a positive number"),
        (("--all", "--run", "--dry-run"), 2, "leave out --dry-run"),
    ],
)
def test_errors(filled: Dataset, words: tuple[str, ...], code: int, said: str) -> None:
    done = _run("--dataset", filled.root, *words)
    assert done.returncode == code and said in done.stderr and done.stdout == ""
    assert not (filled.root / "tests").exists()


def test_an_unknown_op_is_said(filled: Dataset) -> None:
    odd = GEMM.model_copy(update={"name": "odd_op", "op_type": "odd"})
    filled.write_definition(odd)
    done = _run("--dataset", filled.root, "--all")
    assert done.returncode == 0 and "unsupported odd_op: no ground truth" in done.stdout
    assert _run("--dataset", filled.root, "--definition-name", "odd_op").returncode == 4
