"""Runs that were cut off: the next one completes, and takes no one's work for its own."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
Git = Callable[..., str]
KILLS = 5
FILES = 300


def _cut_off(desk: Any, upstream: Any, run_git: Git, files: dict[str, str | None]) -> str:
    """A checkout in the middle of a move to a new commit, of which `files` are written."""
    before = desk.entry().sha
    after = upstream.commit(
        {"src/a.py": "A = 2\n" * 50, "src/new.py": "N\n" * 50, "README.md": None}
    )
    run_git("fetch", "-q", upstream.bare, f"{after}:refs/kernelkit/fetched/{after}", at=desk.path)
    marker = desk.path / ".git/kernelkit-move.json"
    marker.write_text(json.dumps({"before": before, "after": after}))
    (desk.path / ".git/index.lock").write_text("")
    for name, text in files.items():
        path = desk.path / name
        path.unlink() if text is None else path.write_text(text)
    return after


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"src/a.py": "A = 2\n" * 50},
        {"src/a.py": "A = 2\n" * 7 + "A"},
        {"src/a.py": "", "README.md": None},
        {"src/a.py": None, "src/new.py": "N\n" * 20},
        {"src/a.py": "A = 2\n" * 50, "src/new.py": "N\n" * 50, "README.md": None},
    ],
    ids=["none", "whole", "part", "empty", "removed", "all"],
)
def test_a_move_that_was_cut_off_is_made(
    desk: Any, upstream: Any, run_git: Git, files: dict[str, str | None]
) -> None:
    desk.one()
    (desk.path / "mine.txt").write_text("untracked work\n")
    after = _cut_off(desk, upstream, run_git, files)
    assert "cut off" in desk.one(dry_run=True).notes[0]
    outcome = desk.one()
    assert (outcome.error, outcome.sha) == (None, after)
    assert run_git("status", "--short", at=desk.path) == "?? mine.txt"
    assert desk.one().notes == []


def test_work_done_since_is_not_taken_for_the_runs_own(
    desk: Any, upstream: Any, run_git: Git
) -> None:
    desk.one()
    after = _cut_off(desk, upstream, run_git, {"src/a.py": "edited since\n"})
    for _ in range(2):
        outcome = desk.one()
        assert outcome.failed and "src/a.py" in outcome.error and "--force" in outcome.next_step
        assert (desk.path / "src/a.py").read_text() == "edited since\n"
    outcome = desk.one(force=True)
    assert outcome.sha == after and "modified: src/a.py" in outcome.lost
    ref = next(note for note in outcome.notes if "is kept" in note).split()[-1]
    assert run_git("show", f"{ref}:src/a.py", at=desk.path) == "edited since"


def test_a_lock_of_someone_else_is_left(desk: Any, upstream: Any) -> None:
    desk.one()
    upstream.commit({"src/a.py": "A = 2\n"})
    lock = desk.path / ".git/index.lock"
    lock.write_text("")
    outcome = desk.one()
    assert outcome.failed and "index.lock" in outcome.error and lock.exists()
    lock.unlink()
    outcome = desk.one()
    assert outcome.error is None and (desk.path / "src/a.py").read_text() == "A = 2\n"


def test_an_unfinished_clone_is_removed(desk: Any) -> None:
    left = desk.target / ".sglang.4711.kernelkit-tmp"
    (left / ".git").mkdir(parents=True)
    others = desk.target / ".sglang-of-mine"
    others.mkdir()
    assert desk.one().action == "cloned"
    assert not left.exists() and others.exists()


def _command(desk: Any, *words: str) -> list[str]:
    script = ROOT / "scripts" / "clone_repos.py"
    mirror = f"sglang={desk.mirrors['sglang']}"
    return [sys.executable, str(script), "--target-dir", str(desk.target), "--repos", "sglang",
            "--mirror", mirror, "--json", *words]  # fmt: skip


def _killed_after(command: list[str], seconds: float) -> bool:
    """Whether the run was still going when it and its git were killed."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return True
    finally:
        process.communicate()


def _many(number: int) -> dict[str, str | None]:
    return {f"src/{n:03}.py": f"N = {number}\n" * 200 for n in range(FILES)}


def test_real_kills(desk: Any, upstream: Any, run_git: Git) -> None:
    upstream.commit(_many(0))
    start = time.monotonic()
    subprocess.run(_command(desk), check=True, capture_output=True)
    whole = time.monotonic() - start
    rng, cut = random.Random(1), 0
    for number in range(1, KILLS + 1):
        if fresh := number % 3 == 0:
            shutil.rmtree(desk.path)  # a kill in the middle of a clone, too
        else:
            (desk.path / "mine.txt").write_text("untracked work\n")
        sha = upstream.commit(_many(number))
        cut += _killed_after(_command(desk), rng.uniform(0.3, 1.0) * whole)
        done = subprocess.run(_command(desk), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert desk.entry().sha == sha
        mine = "" if fresh else "?? mine.txt"
        assert run_git("status", "--short", at=desk.path) == mine
        assert run_git("fsck", "--no-dangling", at=desk.path) == ""
        assert sorted(path.name for path in desk.target.iterdir()) == [
            "repos_config.json", "sglang"]  # fmt: skip
    assert cut >= 1, "no kill came before the end: the test shows nothing"


def test_interrupt_ends_git_and_says_what_to_do(desk: Any, upstream: Any) -> None:
    slow = desk.target.parent / "slow-upload-pack"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    environment = {**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": "always",
                   "GIT_CONFIG_KEY_0": "protocol.ext.allow"}  # fmt: skip
    desk.mirrors["sglang"] = f"ext::{slow}"
    process = subprocess.Popen(
        _command(desk), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert [path.name for path in desk.target.iterdir()] == []
