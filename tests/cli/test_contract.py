"""What every script promises: fast help on bare dependencies, strict options, exit codes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "scripts").glob("[a-z]*.py"))
HEAVY = ("torch", "triton", "flashinfer", "sglang", "huggingface_hub", "transformers")


def _run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"contract_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 4


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_is_fast_and_light(path: Path) -> None:
    # The best of three: another process may hold the core while one of them runs.
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        done = _run(path, "--help")
        best = min(best, time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert "exit codes:" in done.stdout
    assert best < 0.5, f"--help took {best:.2f} s"
    watch = (
        "import runpy, sys\n"
        f"sys.argv = [{str(path)!r}, '--help']; sys.path.insert(0, {str(path.parent)!r})\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert "HEAVY []" in _run("-c", watch).stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_options_are_strict(path: Path) -> None:
    parser = _load(path).build_parser()
    assert parser.allow_abbrev is False
    assert "--json" in {option for action in parser._actions for option in action.option_strings}
    done = _run(path, "--no-such-option")
    assert done.returncode == 2
    assert done.stdout == ""


def test_no_script_or_module_shadows_another() -> None:
    taken = set(sys.stdlib_module_names) | {"torch", "triton", "numpy", "pydantic", "safetensors"}
    stems = {path.stem for path in (ROOT / "scripts").iterdir() if path.suffix in ("", ".py")}
    assert stems & taken == set()


def test_scripts_work_from_a_folder_with_a_space_and_through_a_link(tmp_path: Path) -> None:
    copy = tmp_path / "dir with space" / "pack"
    shutil.copytree(
        ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    link = tmp_path / "linked.py"
    os.symlink(copy / "scripts" / "derive_definitions.py", link)
    for path in (copy / "scripts" / "derive_definitions.py", link):
        assert _run(path, "--help", cwd=tmp_path).returncode == 0
