"""demo.sh and test.sh: options, environments that are not fit, and the demo from end to end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO, TEST = ROOT / "scripts" / "demo.sh", ROOT / "scripts" / "test.sh"
ENVIRONMENT = ROOT / "scripts" / "_env.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


def _bash(*words: object, timeout: float = 60, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", *map(str, words)], capture_output=True, text=True, timeout=timeout,
        env={**os.environ, **variables},
    )  # fmt: skip


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("script", [DEMO, TEST])
def test_help(script: Path) -> None:
    done = _bash(script, "--help")
    assert done.returncode == 0
    assert "--no-venv" in done.stdout and "PYTHON=" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nonsense",), "no such option: --nonsense"),
        (("--tp",), "--tp needs a value"),
        (("--tp", "0"), "positive integer, received: 0"),
        (("--tp", "two"), "positive integer, received: two"),
        (("--model", "absent.json"), "no such file: absent.json"),
    ],
)
def test_wrong_options(words: tuple[str, ...], message: str) -> None:
    done = _bash(DEMO, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    old = _program(tmp_path / "py", 'case "$1" in --version) echo Python 3.8.9;; *) exit 1;; esac')
    script = f"source '{ENVIRONMENT}'; VENV='{tmp_path}/venv'; use_environment yes ''"
    done = _bash("-c", script, PYTHON=str(old))
    assert done.returncode == 3
    assert "Python 3.8.9; Python 3.10, 3.11 or 3.12 is needed" in done.stderr
    done = _bash("-c", script, PYTHON=str(tmp_path / "absent"))
    assert done.returncode == 3
    assert "is no program" in done.stderr


def test_no_python_at_all(tmp_path: Path) -> None:
    for name in ("python3.12", "python3.11", "python3.10", "python3", "python"):
        text = 'case "$1" in --version) echo Python 3.9.1;; *) exit 1;; esac'
        _program(tmp_path / "bin" / name, text)
    script = f"source '{ENVIRONMENT}'; VENV='{tmp_path}/venv'; unset PYTHON; use_environment yes ''"
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    done = _bash("-c", script, PATH=path)
    assert done.returncode == 3
    assert "no Python 3.10, 3.11 or 3.12 on PATH (python3 is Python 3.9.1)" in done.stderr


def test_a_python_without_venv_is_named(tmp_path: Path) -> None:
    text = 'case "$*" in *ensurepip*) exit 1;; --version) echo Python 3.11.0;; esac'
    bare = _program(tmp_path / "py", text)
    script = f"source '{ENVIRONMENT}'; VENV='{tmp_path}/venv'; use_environment yes ''"
    done = _bash("-c", script, PYTHON=str(bare))
    assert done.returncode == 3
    assert "has no venv module" in done.stderr and "python3-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("ERROR: [Errno 28] No space left on device: 'x'", "the disk is full"),
        ("ERROR: no matching distribution", "pip could not install thing"),
    ],
)
def test_a_failed_install_is_one_sentence(tmp_path: Path, log: str, message: str) -> None:
    (tmp_path / "install.log").write_text(log + "\n", encoding="utf-8")
    done = _bash("-c", f"source '{ENVIRONMENT}'; VENV='{tmp_path}'; install_failed thing")
    assert done.returncode == 3
    assert message in done.stderr


def test_no_venv_says_what_is_missing(tmp_path: Path) -> None:
    bare = _program(tmp_path / "py", 'case "$*" in *import\\ pydantic*) exit 1;; esac')
    done = _bash(TEST, "--no-venv", PYTHON=str(bare))
    assert done.returncode == 3
    assert "the active environment lacks one of: pydantic" in done.stderr


def test_demo_from_end_to_end(tmp_path: Path) -> None:
    """From another folder, into one with a space; the environment of the tests."""
    pytest.importorskip("torch")
    out = tmp_path / "my out"
    start = time.monotonic()
    done = subprocess.run(
        ["bash", str(DEMO), "--no-venv", "--out", str(out)], capture_output=True, text=True,
        timeout=400, cwd=tmp_path, env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    elapsed = time.monotonic() - start
    assert (out / "report.html").is_file()
    assert done.stdout.rstrip().endswith("my out/report.html")
    shown = re.findall(r"^\$ \S+ (scripts/\w+\.py)", done.stdout, flags=re.MULTILINE)
    assert shown[0] == "scripts/extract_model.py" and shown[-1] == "scripts/report.py"
    traces = [
        json.loads(line)
        for path in (out / "dataset" / "traces").rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(traces) >= 10
    assert {trace["evaluation"]["status"] for trace in traces} == {"PASSED"}
    assert sorted(path.name for path in out.iterdir()) == ["dataset", "model", "report.html"]
    assert elapsed < 300  # a busy machine; the pipeline takes half a minute on two idle cores


def test_a_model_without_recorded_calls_still_gets_a_report(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    config = json.loads((ROOT / "scripts/demo_assets/config.json").read_text(encoding="utf-8"))
    config.update(hidden_size=256, intermediate_size=512, num_attention_heads=4,
                  num_key_value_heads=2, num_hidden_layers=2, vocab_size=1000)  # fmt: skip
    path = tmp_path / "tiny" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(config), encoding="utf-8")
    done = _bash(DEMO, "--no-venv", "--model", path, "--tp", 2, "--out", tmp_path / "out",
                 timeout=300, PYTHON=sys.executable)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to do here" in done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
