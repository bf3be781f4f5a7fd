"""Faults below every script of the pipeline that writes: what they leave, and what they say.

A folder that cannot be written, a disk that is full at once or in the middle, a clock that jumps, a
folder with a hostile name, two processes at once. Kills: test_killed.py and its like.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))
from warm import Warm  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "scripts" / "demo_assets"
UNDER = ROOT / "tests" / "fixtures" / "faults" / "under_fault.py"
CONFIG = ("--config", ASSETS / "config.json")
DATED = {"report.html", "export/README.md", "export/statistics.json"}  # they name date or folder
NAME = "a 数 'x' $(touch no) {b}"  # of the folder, which every path goes through


def _steps(at: Path) -> Iterator[tuple[str, list[object]]]:
    """The pipeline, each script with what it writes below `at`."""
    data = ("--dataset", at / "dataset")
    yield "extract_model", [*CONFIG, "--output", at / "model"]
    yield "derive_definitions", [*CONFIG, *data, "--create"]
    yield "collect_workloads", ["--dump", ASSETS / "dump", *data]
    yield "build_solution", ["pack", ASSETS / "solutions", *data]
    yield "make_baselines", [*data, "--op-types", "gqa_ragged"]
    yield "add_reference_tests", [*data, "--op-type", "rmsnorm"]
    yield "generate_model_definition", [*CONFIG, *data, "--output", at / "models.ts"]
    yield "report", [*data, "-o", at / "report.html"]
    yield "export_dataset", [*data, "--output", at / "export", "--formats", "jsonl"]


@pytest.fixture(scope="module")
def python() -> Iterator[Warm]:
    """A Python that has its packages loaded: some forty scripts are run."""
    with Warm() as warm:
        yield warm


def _run(
    python: Warm, script: str, words: list[object], cwd: Path, **faults: object
) -> tuple[int, str]:
    """A script under a fault (none without one): its exit code and all that it printed."""
    variables = {f"FAULT_{name.upper()}": str(value) for name, value in faults.items()}
    line = [UNDER, ROOT / "scripts" / f"{script}.py", *words]
    code, said = python.run([*map(str, line)], cwd, {**os.environ, **variables}, 120)
    assert "Traceback" not in said, said
    return code, said


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def undisturbed(python: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pipeline makes while the clock jumps, and nothing else is wrong."""
    at = tmp_path_factory.mktemp("clock") / "all"
    at.mkdir()
    for script, words in _steps(at):
        code, said = _run(python, script, words, at, clock=1)
        assert code == 0, said
    return at


def test_refused_writes_are_told_and_the_next_run_mends_all(
    undisturbed: Path, python: Warm, tmp_path: Path
) -> None:
    at = tmp_path / NAME
    at.mkdir()
    for script, words in _steps(at):
        before = _tree(at)
        code, said = _run(python, script, words, at, folder=at, error="EROFS", after=0)
        assert code in (1, 2) and "Read-only file system" in said, (script, said)
        assert _tree(at) == before, script
        code, said = _run(python, script, words, at, folder=at, error="ENOSPC", after=3)
        assert code == 0 or "No space left on device" in said, (script, said)
        assert not [name for name in _tree(at) if "kernelkit-tmp" in name], script
        code, said = _run(python, script, words, at)
        assert code == 0, (script, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, f"{NAME}.log"]
    mine, theirs = _tree(at), _tree(undisturbed)
    assert mine.keys() == theirs.keys()
    assert {name for name in mine if mine[name] != theirs[name]} <= DATED


def test_two_at_once_make_what_one_makes(undisturbed: Path, tmp_path: Path) -> None:
    steps = {script: words for script, words in _steps(tmp_path)}
    for script in ("derive_definitions", "build_solution"):
        line = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *map(str, steps[script])]
        both = [
            subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        for process in both:
            said = process.communicate(timeout=120)[0]
            assert process.returncode == 0, said
    for part in ("definitions", "solutions/kernelkit"):
        theirs = _tree(undisturbed / "dataset" / part)
        assert theirs and _tree(tmp_path / "dataset" / part) == theirs
