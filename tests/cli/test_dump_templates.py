"""dump_templates.py as a person runs it; with FlashInfer where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "dump_templates.py"
CONFIG = ROOT / "tests/fixtures/configs/meta-llama__Llama-3.1-8B.json"


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_wrong_options(tmp_path: Path) -> None:
    assert _run("--flashinfer-path", tmp_path).returncode == 2
    assert _run("--coverage", "x.md", "--config", CONFIG).returncode == 2


def test_a_flashinfer_that_does_not_import(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "flashinfer").mkdir()
    (tmp_path / "flashinfer" / "__init__.py").write_text("import no_such_package\n")
    done = _run("--flashinfer-path", tmp_path)
    assert done.returncode == 3
    assert "no_such_package" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_models_definitions_agree_both_ways(tmp_path: Path) -> None:
    from kernelkit.capture.normalize.report import sources_of

    pytest.importorskip("torch")
    if sources_of(None) is None:
        pytest.skip("flashinfer is not installed")
    done = _run("--config", CONFIG, "--output", tmp_path / "dumps", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)["definitions"]
    assert {row["state"] for row in rows} == {"agrees"}
    assert len(rows) == 14
    assert (tmp_path / "dumps" / "context.jsonl").is_file()
