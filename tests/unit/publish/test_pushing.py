"""--submit to remotes that are not the hub: pushes to real bare repositories."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import publish_staging as staging
import pytest
from hub_stub import HubStub
from publish_staging import BELONGING, BRANCH, DECODE, DOCUMENT, Desk, git, submitted

# huggingface_hub 2.4 sends a file in a way that its own HTTP library calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def _without_lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with git and without git-lfs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("git", "sh"):
        os.symlink(str(shutil.which(name)), folder / name)
    monkeypatch.setenv("PATH", str(folder))


@pytest.fixture
def light(desk: Desk) -> Desk:
    """Without recorded tensors: nothing needs git-lfs."""
    for path in (desk.dataset.root / "blob").rglob("*.safetensors"):
        path.unlink()
    definition = staging.definition(DECODE)
    desk.dataset.workload_path(definition).unlink()
    desk.dataset.trace_path(definition).unlink()
    return desk


@needs_lfs
def test_a_remote_that_is_not_the_hub_gets_the_branch_and_the_objects(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = submitted(desk, capsys)
    assert (code, found["errors"]) == (0, [])
    assert desk.upstream.files_of(BRANCH) == BELONGING
    assert "open the pull request by hand" in found["dataset"]["note"]
    content = staging.blob(staging.workload(0))
    held = list((desk.upstream.bare / "lfs" / "objects").rglob("*"))
    assert content in [path.read_bytes() for path in held if path.is_file()]
    assert desk.bench_upstream.files_of(BRANCH) == [DOCUMENT]


def test_git_lfs_is_missing(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _without_lfs(tmp_path, monkeypatch)
    code, found = submitted(desk, capsys)
    assert code == 3
    assert "git-lfs is not installed, and 2 recorded tensors" in found["errors"][0]
    assert git("branch", "--list", at=desk.upstream.bare).split() == ["*", "main"]
    assert git("rev-parse", "--verify", BRANCH, at=desk.dataset.root)


def test_the_remote_declines_the_push(light: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    hook = light.upstream.bare / "hooks" / "pre-receive"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\necho 'no branches here' >&2\nexit 1\n")
    hook.chmod(0o755)
    code, found = submitted(light, capsys, "--allow-incomplete")
    assert code == 1
    assert "declined the push" in found["errors"][0] and "--remote" in found["errors"][0]
    assert found["dataset"]["pushed"] is False
    hook.unlink()
    code, found = submitted(light, capsys, "--allow-incomplete")
    assert (code, found["dataset"]["pushed"]) == (0, True)


def test_the_remote_branch_has_other_commits(
    light: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    git("push", "--quiet", light.upstream.bare, f"HEAD:refs/heads/{BRANCH}", at=light.upstream.tree)
    light.upstream.tree.joinpath("x").write_text("theirs")
    git("add", "x", at=light.upstream.tree)
    git("commit", "--quiet", "-m", "theirs", at=light.upstream.tree)
    git("push", "--quiet", light.upstream.bare, f"HEAD:refs/heads/{BRANCH}", at=light.upstream.tree)
    code, found = submitted(light, capsys, "--allow-incomplete")
    assert code == 1
    assert "has commits that this one lacks" in found["errors"][0]


def test_the_remote_cannot_be_reached(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    git("remote", "set-url", "origin", "http://127.0.0.1:9/none.git", at=desk.dataset.root)
    code, found = submitted(desk, capsys)
    assert code == 3
    assert "cannot be fetched" in found["error"] and found["error"].count("\n") == 1


def test_submit_starts_from_what_the_remote_has_now(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sha = desk.upstream.commit({"later.txt": "theirs"})
    assert submitted(desk, capsys)[0] == 0
    assert git("merge-base", BRANCH, "origin/main", at=desk.dataset.root) == sha
