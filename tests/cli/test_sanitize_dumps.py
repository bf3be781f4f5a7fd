"""The script as a person runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import gqa_paged, rmsnorm

ROOT = Path(__file__).resolve().parents[2]
DUMP = ROOT / "scripts" / "demo_assets" / "dump"
NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
DECODE = gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False)


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "sanitize_dumps.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def words(dataset: Dataset) -> list[object]:
    """Options for the bundled dump and a dataset of three definitions."""
    for definition in (NORM, DECODE, rmsnorm.FAMILY.definition(128, 1e-5)):
        dataset.write_definition(definition)
    return ["--dump-dir", DUMP, "--dataset", dataset.root]


def test_first_and_second_run(words: list[object], dataset: Dataset, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = _run(*words, "--json", "--report", report)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert json.loads(report.read_text(encoding="utf-8")) == document
    assert document["added"] == 6
    assert document["without_workload"] == ["rmsnorm_h128"]
    assert [item["kind"] for item in document["unusable"]] == ["plan without a run"]
    assert "BatchPrefillWithRaggedKVCacheWrapper.run" in done.stderr
    assert "the dataset has none of this API" in done.stderr
    again = _run(*words)
    assert again.returncode == 0
    assert "wrote 0 workloads for 2 of 3 definitions" in again.stdout


def test_choice_and_dry_run(words: list[object], dataset: Dataset) -> None:
    done = _run(*words, "--op-type", "gqa_paged", "--max-new-workloads", 2, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would write 2 workloads for 1 of 1 definitions" in done.stdout
    assert not (dataset.root / "workloads").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--definitions", "rmsnorm_h128"], 4, "no recorded workload: rmsnorm_h128"),
        (["--definitions", f"{NORM.name},absent"], 2, "no such definition"),
        (["--op-type", "gemm"], 4, "no such definitions"),
        (["--op-type", "gemm", "--all"], 2, "not allowed with"),
        (["--max-new-workloads", "-1"], 2, "not a count"),
    ],
)
def test_what_cannot_be(words: list[object], options: list[str], code: int, message: str) -> None:
    done = _run(*words, *options)
    assert done.returncode == code
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_dump_is_no_success(words: list[object], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = _run("--dump-dir", tmp_path / "empty", *words[2:])
    assert done.returncode == 4
    assert "FLASHINFER_LOGLEVEL=10" in done.stderr


def test_broken_folders_are_named(words: list[object], dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(DUMP, tmp_path / "dump")
    broken = next((tmp_path / "dump").glob("*_rmsnorm_call0001")) / "metadata.jsonl"
    broken.write_text(broken.read_text(encoding="utf-8")[:100], encoding="utf-8")
    done = _run("--dump-dir", tmp_path / "dump", *words[2:])
    assert done.returncode == 0, done.stderr
    assert f"truncated or unreadable metadata: 1: {broken.parent.name}" in done.stderr
    assert len(dataset.workloads_of(NORM)) == 1


def test_a_bad_workload_file_fails_and_hides_nothing(words: list[object], dataset: Dataset) -> None:
    path = dataset.workload_path(DECODE)
    path.parent.mkdir(parents=True)
    path.write_text("{\n", encoding="utf-8")
    done = _run(*words)
    assert done.returncode == 1
    assert f"{DECODE.name}: workloads/gqa_paged" in done.stdout
    assert len(dataset.workloads_of(NORM)) == 2
