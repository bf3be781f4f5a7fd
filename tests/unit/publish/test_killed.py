"""Killed at any moment, a submission ends as one that was never killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import publish_staging as staging
from hub_stub import HubStub
from publish_staging import BELONGING, BRANCH, DECODE, DOCUMENT, Desk, git

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "submit_prs.py"
KILLS = int(os.environ.get("KERNELKIT_KILLS", "5"))


def test_kills(desk: Desk, hub: HubStub, gh: Path, tmp_path: Path) -> None:
    manifest = staging.write_manifest(tmp_path / "run.json", DECODE)
    words = desk.words("--json", "--submit", "--manifest", manifest)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(SCRIPT), *words]
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1"}
    rng, alive = random.Random(0), 0
    for number in range(KILLS):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.3 + 2.5 * (number + rng.random()) / KILLS)
        alive += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert alive >= 1, "no kill came before the end: the test shows nothing"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["definitions"][DECODE]["status"] == "published"
    (request,) = hub.requests
    assert sorted(request.files) == BELONGING
    assert len(hub.uploads) == len(set(hub.uploads)) == 2
    assert len(json.loads((gh / "state.json").read_text())) == 1
    assert desk.bench_upstream.files_of(BRANCH) == [DOCUMENT]
    for repository in (desk.dataset.root, desk.bench):
        assert len(git("worktree", "list", at=repository).splitlines()) == 1
        assert list((repository / ".git" / "kernelkit-publish").iterdir()) == []
    held = staging.phase4(manifest)
    assert held["status"] == "published"
    assert held["dataset"]["pr_number"] == 1 and held["coverage"]["pr_url"]
