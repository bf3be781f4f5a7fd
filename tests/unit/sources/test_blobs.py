"""Git-LFS: pointers are left, counted and explained; objects come by pattern."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelkit.sources.blobs import pointers, uses_lfs
from kernelkit.sources.git import Git

Run = Callable[..., str]
A, B = "blob/workloads/rmsnorm/a.safetensors", "blob/workloads/gemm/b.safetensors"
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def _pointer(size: int) -> str:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {size}\n"


@pytest.fixture
def pointing(desk: Any, make_upstream: Any) -> Any:
    """A desk whose flashinfer-trace has two pointers, and a small file that is none."""
    made = make_upstream("flashinfer-trace")
    attributes = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
    made.commit({".gitattributes": attributes, A: _pointer(3_000_000), B: _pointer(1_500_000_000)})
    desk.mirrors["flashinfer-trace"] = str(made.bare)
    return desk


@pytest.fixture
def without_lfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PATH with git and without git-lfs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh"):
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))


def test_pointers_are_counted(pointing: Any, without_lfs: None) -> None:
    (outcome,) = pointing("flashinfer-trace")
    path = pointing.target / "flashinfer-trace"
    assert outcome.action == "cloned" and uses_lfs(path)
    left, objects = pointers(Git(), path)
    assert (left.count, left.bytes, objects) == (2, 1_503_000_000, 0)
    assert "2 recorded files (1.5 GB) are Git-LFS pointers" in outcome.notes[0]
    assert pointing.entry("flashinfer-trace").blobs == "pointers"


def test_missing_lfs_is_said_with_its_meaning(pointing: Any, without_lfs: None) -> None:
    (outcome,) = pointing("flashinfer-trace")
    assert outcome.error is None
    assert "git-lfs is not installed" in outcome.notes[0] and "cannot run" in outcome.notes[0]
    good, bad = pointing("sglang", "flashinfer-trace", blobs="*")
    assert good.error is None and bad.missing
    assert "stay pointers" in bad.error and "apt install git-lfs" in bad.next_step
    assert pointing.entry("flashinfer-trace").blobs == "pointers"


def test_a_repository_without_lfs_has_no_blobs(desk: Any, without_lfs: None) -> None:
    outcome = desk.one(blobs="*")
    assert outcome.error is None and outcome.notes == [] and desk.entry().blobs == "none"


@needs_lfs
@pytest.mark.parametrize("address", ["path", "url"])
def test_objects_come_by_pattern(
    desk: Any, make_upstream: Any, run_git: Run, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_upstream("flashinfer-trace")
    run_git("lfs", "install", "--local", at=made.tree)
    attributes = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
    bare, made.bare = made.bare, f"file://{made.bare}"  # where git-lfs can push to
    made.commit({".gitattributes": attributes, A: "a" * 5000, B: "b" * 5000})
    desk.mirrors["flashinfer-trace"] = str(bare) if address == "path" else made.bare
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "0")
    (outcome,) = desk("flashinfer-trace")
    path = desk.target / "flashinfer-trace"
    assert outcome.error is None and os.stat(path / A).st_size < 200
    for globs, state in (("blob/workloads/rmsnorm/**", "some"), ("*", "present"), ("*", "present")):
        (outcome,) = desk("flashinfer-trace", blobs=globs)
        assert outcome.error is None, outcome.error
        assert desk.entry("flashinfer-trace").blobs == state
        assert run_git("status", "--short", at=path) == ""
    assert (path / A).read_text() == "a" * 5000
