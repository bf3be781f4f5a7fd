"""scripts/doctor.py from the command line: on this machine, on a bare one, on a broken one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "doctor.py"


def _run(
    cwd: Path, *words: str, flags: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, str(SCRIPT), *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """A path on which every heavy package is there and cannot be imported."""
    for name in ("torch", "triton", "flashinfer", "sglang", "fla", "cutlass", "yaml"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("raise ImportError('planted')\n")
    return str(tmp_path / "site")


def test_broken_packages_are_lines_of_the_report(tmp_path: Path, broken: str) -> None:
    done = _run(tmp_path, "--json", PYTHONPATH=broken)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert document["facts"]["torch"]["state"] == "broken"
    assert "planted" in document["facts"]["sglang"]["detail"]
    assert document["scripts"]["bench"]["state"] == "does not work"
    assert "torch" in document["scripts"]["bench"]["missing"]
    assert document["scripts"]["doctor"]["state"] == "works"
    commands = {repair["name"]: repair["command"] for repair in document["repairs"]}
    assert "--force-reinstall" in commands["torch"]
    assert any("torch is there and does not work" in text for text in document["conflicts"])
    assert set(document["scripts"]) == {p.stem for p in (ROOT / "scripts").glob("[a-z]*.py")}
    skills = {p.parent.name for p in (ROOT / ".claude" / "skills").glob("*/SKILL.md")}
    assert set(document["skills"]) == skills


def test_a_bare_python(tmp_path: Path) -> None:
    done = _run(tmp_path, flags=("-S", "-E"), PATH=str(tmp_path))
    assert "Traceback" not in done.stderr
    assert done.returncode == 3 and "does not work here: derive_definitions" in done.stderr
    for line in ("pydantic                 absent", "git                      absent"):
        assert line in done.stdout
    assert "python -m pip install 'pydantic>=2.9,<3'" in done.stdout


def test_for_what_is_wanted(tmp_path: Path, broken: str) -> None:
    assert _run(tmp_path, "--for", "clone-repos,doctor", PYTHONPATH=broken).returncode == 0
    done = _run(tmp_path, "--for", "bench", PYTHONPATH=broken)
    assert done.returncode == 3 and "does not work here: bench" in done.stderr


def test_only_what_is_wanted_is_told(tmp_path: Path, broken: str) -> None:
    done = _run(tmp_path, "--for", "track-models,report", "--json", PYTHONPATH=broken)
    document = json.loads(done.stdout)
    assert set(document["skills"]) == {"track-models"}
    assert {"report", "update_coverage"} <= set(document["scripts"])
    assert "bench" not in document["scripts"]
    assert "torch" not in {repair["name"] for repair in document["repairs"]}
    assert "skills:" not in _run(tmp_path, "--for", "report", PYTHONPATH=broken).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--for", "bensh"], "bench"),
        (["--for", "bench,"], "empty name"),
        (["--timeout", "0"], "above 0"),
        (["--timeout", "nan"], "above 0"),
    ],
)
def test_bad_input(tmp_path: Path, words: list[str], message: str) -> None:
    done = _run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_broken_config_file_is_a_fact(tmp_path: Path, broken: str) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "repos_config.json").write_text("{")
    done = _run(tmp_path, "--json", PYTHONPATH=broken)
    fact = json.loads(done.stdout)["facts"]["sglang_sources"]
    assert fact["state"] == "broken" and "repos_config.json" in fact["detail"]
