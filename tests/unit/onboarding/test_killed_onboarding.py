"""An onboarding killed at random moments ends as one that never was."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from onboarding_place import ROOT, Place, git

KILLS = 3
DRIVER = """
import sys
sys.path.insert(0, {scripts!r})
from kernelkit.onboarding import gpus
gpus.has_gpu = lambda: False
import onboard_model
raise SystemExit(onboard_model.main(sys.argv[1:]))
"""


def start(place: Place, *more: str) -> subprocess.Popen[bytes]:
    """One run, in a process of its own."""
    driver = place.root / "driver.py"
    driver.write_text(DRIVER.format(scripts=str(ROOT / "scripts")))
    command = [sys.executable, str(driver), *place.words("--json", *more)]
    with open(place.root / "log", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TZ": "UTC"})


def state(place: Place) -> dict[str, Any]:
    """Everything that a run leaves, without times."""
    held = json.loads(place.manifest.read_text().replace(str(place.root), ""))
    for name in ("updated", "date", "repo_shas"):
        held.pop(name, None)
    for kernel in held["kernels"]:
        for side in ("dataset", "coverage"):
            (kernel.get("phase4", {}).get(side) or {}).pop("commit", None)
    for phase in held["phases"].values():
        phase.pop("steps", None)  # their marks name folders
    files = {
        path.relative_to(place.root).as_posix(): path.read_text().replace(str(place.root), "")
        for folder in (place.dataset, place.output)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }
    rows = git("for-each-ref", "--format=%(refname:short) %(tree)", "refs/heads/onboard",
               at=place.dataset)  # fmt: skip
    worktrees = len(git("worktree", "list", at=place.dataset).splitlines())
    return {"manifest": held, "files": files, "branches": rows, "worktrees": worktrees}


@pytest.fixture
def twin(place: Place, tmp_path: Path) -> Place:
    """A second place like the first."""
    other = tmp_path / "twin"
    shutil.copytree(place.root, other, ignore=shutil.ignore_patterns("twin"), symlinks=True)
    git("remote", "set-url", "origin", other / "hosted.git", at=other / "dataset")
    return Place(other)


def test_kills_change_nothing_of_the_end(place: Place, twin: Place) -> None:
    began = time.monotonic()
    assert start(place, "--skip-workload").wait(120) == 0, (place.root / "log").read_text()
    whole_s = time.monotonic() - began
    rng, kills = random.Random(3), 0
    for _ in range(KILLS):
        process = start(twin, "--skip-workload")
        try:
            process.wait(rng.uniform(0.15, 0.9) * whole_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        if twin.manifest.exists():
            json.loads(twin.manifest.read_text())  # whole at every moment
    assert kills >= 2, "too few kills came before the end: the test shows nothing"
    assert start(twin, "--skip-workload").wait(120) == 0, (twin.root / "log").read_text()
    one, other = state(place), state(twin)
    assert other["manifest"] == one["manifest"]
    assert other["files"].keys() == one["files"].keys()
    assert other == one
