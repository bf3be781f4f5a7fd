"""measure_device.py on this machine's CPU: figures, the kept file, and the ways to fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "measure_device.py"
pytest.importorskip("torch")


def _run(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_a_dry_run_writes_nothing_and_names_the_file(tmp_path: Path) -> None:
    done = _run(tmp_path, "--device", "cpu", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)["devices"]
    assert document["would_measure"] is True
    assert document["path"].startswith(str(tmp_path / "kernelkit" / "devices"))
    assert list(tmp_path.iterdir()) == []


def test_a_cpu_is_measured_once_and_then_read(tmp_path: Path) -> None:
    done = _run(tmp_path, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    (first,) = json.loads(done.stdout)["devices"]
    assert first["measured_now"] is True
    assert first["figures"]["copy"]["unit"] == "GB/s"
    assert first["figures"]["copy"]["value"] > 0
    assert Path(first["path"]).is_file()
    again = _run(tmp_path, "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert "GB/s" in again.stdout and "target.copy_(source)" in again.stdout
    assert "fp8 absent: a type of GPU matrix units" in again.stdout
    assert "measuring" not in again.stderr
    (kept,) = json.loads(_run(tmp_path, "--device", "cpu", "--json").stdout)["devices"]
    assert kept["measured_now"] is False
    assert kept["figures"] == first["figures"]


@pytest.mark.parametrize(("device", "code"), [("tpu", 2), ("cuda:99999", 3)])
def test_a_device_that_is_not_there(tmp_path: Path, device: str, code: int) -> None:
    done = _run(tmp_path, "--device", device)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
