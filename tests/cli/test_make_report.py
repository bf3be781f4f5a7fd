"""make_report.py: reads only, needs no torch, writes one file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import gemm

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_report.py"


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def small(dataset: Dataset) -> Path:
    """One definition and nothing else."""
    dataset.write_definition(gemm.FAMILY.definition(64, 64))
    return dataset.root


def test_an_empty_dataset_is_nothing_to_report(dataset: Dataset) -> None:
    done = _run("--dataset", dataset.root)
    assert done.returncode == 4
    assert done.stdout == ""


def test_the_dataset_stays_as_it_is(small: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in small.rglob("*") if p.is_file()}
    page = tmp_path / "r.html"
    done = _run("--dataset", small, "--output", page, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["without_workloads"] == ["gemm_n64_k64"]
    assert document["output"] == str(page)
    assert {p: p.read_bytes() for p in small.rglob("*") if p.is_file()} == before
    assert "make_report.py" in page.read_text(encoding="utf-8")


def test_no_torch(small: Path, tmp_path: Path) -> None:
    watch = (
        "import runpy, sys\n"
        "sys.modules['torch'] = None\n"  # importing it raises
        f"sys.argv = ['x', '--dataset', {str(small)!r}, '--output', {str(tmp_path / 'r.html')!r}]\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.html").is_file()
