"""A script killed at any moment leaves a dataset that validates, and finishes when run again."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "fixtures" / "configs" / "Qwen__Qwen3-Next-80B-A3B-Instruct.json"
KILLS = 12


def _derive(dataset: Path) -> list[str]:
    script = ROOT / "scripts" / "derive_definitions.py"
    return [sys.executable, str(script), "--config", str(CONFIG), "--tp-list", "1,2,4",
            "--ep-list", "1,4", "--dataset", str(dataset), "--create", "--json"]  # fmt: skip


def _validate(dataset: Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "validate_dataset.py"
    return subprocess.run(
        [sys.executable, str(script), "--dataset", str(dataset), "--json"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_kills_leave_a_sound_dataset(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    whole = tmp_path / "whole"
    subprocess.run(_derive(whole), check=True, capture_output=True, timeout=60)
    total = len(list(whole.rglob("*.json")))
    rng = random.Random(0)
    partial = 0
    for _ in range(KILLS):
        shutil.rmtree(dataset, ignore_errors=True)
        process = subprocess.Popen(_derive(dataset), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # Killed when so many files are there, plus a little: in the middle of a write or between.
        enough = rng.randrange(total)
        while process.poll() is None and len(list(dataset.rglob("*.json"))) < enough:
            pass
        time.sleep(rng.uniform(0, 0.003))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        written = len(list(dataset.rglob("*.json")))
        partial += written < total
        if written:
            done = _validate(dataset)
            assert done.returncode == 0, done.stdout
            assert json.loads(done.stdout)["findings"] == []
    assert partial >= 1, "no kill came before the end: the test shows nothing"
    subprocess.run(_derive(dataset), check=True, capture_output=True, timeout=60)
    names = {path.relative_to(whole) for path in whole.rglob("*.json")}
    assert {p.relative_to(dataset) for p in dataset.rglob("*.json")} == names
    for name in names:
        assert (dataset / name).read_bytes() == (whole / name).read_bytes()
