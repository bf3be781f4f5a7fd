"""Submodules: on request only, with the commits that are recorded, without losing local work."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

Git = Callable[..., str]
LOCAL = ("-c", "protocol.file.allow=always")


@pytest.fixture
def inner(make_upstream: Any, upstream: Any, run_git: Git) -> Any:
    """A repository that the hosted sglang has as 3rdparty/cutlass, by a relative address."""
    made = make_upstream("cutlass")
    run_git(*LOCAL, "submodule", "add", "-q", "../cutlass.git", "3rdparty/cutlass",
            at=_with_origin(upstream, run_git))  # fmt: skip
    upstream.commit({}, "add submodule")
    return made


def _with_origin(upstream: Any, run_git: Git) -> Any:
    run_git("remote", "add", "origin", upstream.bare, at=upstream.tree)
    return upstream.tree


def _advance(upstream: Any, inner: Any, run_git: Git) -> str:
    sha = inner.commit({"src/a.py": "A = 2\n"})
    run_git(*LOCAL, "submodule", "update", "-q", "--remote", at=upstream.tree)
    upstream.commit({}, "newer cutlass")
    return sha


def test_left_out_unless_asked_for(desk: Any, inner: Any) -> None:
    desk.one()
    assert list((desk.path / "3rdparty/cutlass").iterdir()) == []
    assert desk.entry().submodules == {}


@pytest.mark.parametrize("depth", [None, 1])
def test_come_and_follow(
    desk: Any, upstream: Any, inner: Any, run_git: Git, depth: int | None
) -> None:
    if depth:
        desk.mirrors["sglang"] = f"file://{upstream.bare}"
    first = run_git("rev-parse", "HEAD", at=inner.tree)
    assert desk.one(submodules=True, depth=depth).action == "cloned"
    assert desk.entry().submodules == {"3rdparty/cutlass": first}
    second = _advance(upstream, inner, run_git)
    outcome = desk.one()
    assert outcome.action == "updated" and "--submodules moves them" in outcome.notes[0]
    assert desk.one(submodules=True).error is None
    assert desk.entry().submodules == {"3rdparty/cutlass": second}
    assert run_git("status", "--short", at=desk.path) == ""


def test_later_request_brings_them(desk: Any, inner: Any) -> None:
    desk.one()
    assert desk.one(submodules=True).error is None
    assert (desk.path / "3rdparty/cutlass/src/a.py").is_file()


def test_local_work_in_one(desk: Any, upstream: Any, inner: Any, run_git: Git) -> None:
    desk.one(submodules=True)
    file = desk.path / "3rdparty/cutlass/src/a.py"
    file.write_text("mine\n")
    _advance(upstream, inner, run_git)
    outcome = desk.one(submodules=True)
    assert outcome.action == "failed" and file.read_text() == "mine\n"
    outcome = desk.one(submodules=True, force=True)
    assert outcome.lost == ["modified: 3rdparty/cutlass/src/a.py"]
    assert file.read_text() == "A = 2\n"
    ref = next(note for note in outcome.notes if "is kept" in note).split()[-1]
    assert run_git("show", f"{ref}:src/a.py", at=file.parent) == "mine"


def test_commits_in_one_keep_a_name(desk: Any, upstream: Any, inner: Any, run_git: Git) -> None:
    desk.one(submodules=True)
    sub = desk.path / "3rdparty/cutlass"
    run_git("commit", "-q", "--allow-empty", "-m", "own", at=sub)
    mine = run_git("rev-parse", "HEAD", at=sub)
    _advance(upstream, inner, run_git)
    assert desk.one(submodules=True).error is None
    assert run_git("rev-parse", "HEAD", at=sub) != mine
    assert run_git("for-each-ref", "--contains", mine, at=sub)


def test_one_whose_clone_was_cut_off(desk: Any, inner: Any, run_git: Git) -> None:
    desk.one(submodules=True)
    module = desk.path / ".git/modules/3rdparty/cutlass"
    shutil.rmtree(module / "objects/pack", ignore_errors=True)  # as a killed clone leaves it:
    for name in ("refs", "objects"):  # the folder, its config and nothing that HEAD could name
        shutil.rmtree(module / name)
        (module / name).mkdir()
    (module / "packed-refs").unlink(missing_ok=True)
    (module / "HEAD").write_text("ref: refs/heads/main\n")
    (desk.path / ".git/kernelkit-move.json").write_text('{"before": null, "after": null}')
    outcome = desk.one(submodules=True)
    assert outcome.error is None and "cut off" in outcome.notes[0]
    assert (desk.path / "3rdparty/cutlass/src/a.py").read_text() == "A = 1\n"


def test_absent_submodule_repository_fails_by_name(desk: Any, inner: Any) -> None:
    shutil.rmtree(inner.bare)
    outcome = desk.one(submodules=True)
    assert outcome.action == "failed" and "cutlass" in outcome.error
    assert not desk.path.exists()
    assert desk.one().action == "cloned"
