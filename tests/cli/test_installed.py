"""The pack installed by pip: the library, `kernelkit NAME`, the files that scripts copy from."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "fixtures" / "configs" / "meta-llama__Llama-3.1-8B.json"
RANDOM = {name: {"type": "random"} for name in ("hidden_states", "weight")}
WORKLOAD = {"uuid": "w", "axes": {"batch_size": 4}, "inputs": RANDOM}
NORM = "rmsnorm_h4096"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with a space in its path, into which the pack is installed without network."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    try:
        setuptools = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        setuptools = "0"
    if int(setuptools.partition(".")[0]) < 77:
        pytest.skip(f"building the pack needs setuptools 77 or newer, here is {setuptools}")
    source = tmp_path_factory.mktemp("source") / "pack"
    left_out = shutil.ignore_patterns(".*", "tests", "out", "tmp", "build", "__pycache__")
    shutil.copytree(ROOT, source, ignore=left_out)
    shutil.copytree(ROOT / ".claude", source / ".claude")
    target = tmp_path_factory.mktemp("some where")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--target", str(target), str(source)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


def _run(library: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kernelkit", *map(str, words)], capture_output=True, text=True,
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(library)}, timeout=120,
    )  # fmt: skip


def test_all_scripts_are_named(library: Path, tmp_path: Path) -> None:
    shown = _run(library, "--help", cwd=tmp_path).stdout
    for path in (ROOT / "scripts").glob("[a-z]*.py"):
        assert f"  {path.stem.replace('_', '-')} " in shown
    found = _run(library, "no-such-script", cwd=tmp_path)
    assert found.returncode == 2
    assert "no such script: no-such-script" in found.stderr


def test_the_command_is_installed(library: Path) -> None:
    assert "kernelkit.__main__" in (library / "bin" / "kernelkit").read_text()


def test_a_solution_from_a_config_to_a_report(library: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")

    def run(*words: object) -> str:
        done = _run(library, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("derive-definitions", "--config", CONFIG, "--dataset", "data", "--create")
    workloads = tmp_path / "data" / "workloads" / "rmsnorm" / f"{NORM}.jsonl"
    workloads.parent.mkdir(parents=True)
    workloads.write_text(json.dumps({"definition": NORM, "workload": WORKLOAD}) + "\n")
    run("new-solution", "--definition", NORM, "--dataset", "data", "--template", "dense_baseline",
        "--author", "me", "--name", "mine", "--output", "mine")  # fmt: skip
    assert "kernelkit check-solution mine" in (tmp_path / "mine" / "README.md").read_text()
    run("check-solution", "mine", "--dataset", "data", "--smoke")
    run("build-solution", "pack", "mine", "--dataset", "data")
    run("bench", "--dataset", "data", "--device", "cpu", "--iterations", 3, "--num-trials", 1)
    run("report", "--dataset", "data", "-o", "report.html")
    assert "mine" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.skipif(
    os.environ.get("KERNELKIT_SLOW") != "1", reason="needs a package index: KERNELKIT_SLOW=1"
)
def test_uv_runs_a_script(tmp_path: Path) -> None:
    """uv solves all extras for all Pythons first: a pin that one Python lacks stops every run."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    left_out = shutil.ignore_patterns(".git", ".venv*", "out", "tmp", "tests", "build")
    pack = Path(shutil.copytree(ROOT, tmp_path / "a pack", symlinks=True, ignore=left_out))
    config = ROOT / "scripts" / "demo_assets" / "config.json"
    done = subprocess.run(
        ["uv", "run", str(pack / "scripts" / "extract_model.py"), "--config", str(config),
         "--output", str(tmp_path / "out")],
        cwd=pack, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model_architecture.json").is_file()
