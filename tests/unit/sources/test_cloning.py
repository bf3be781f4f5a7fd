"""Fresh clones: what comes, by which name, from where, and what is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelkit.errors import ConflictError, UsageError
from kernelkit.sources.catalogue import SOURCES, is_local, mirrors, select
from kernelkit.sources.lock import alone_in

Git = Callable[..., str]


def test_four_in_parallel_and_again(desk: Any, make_upstream: Any) -> None:
    for name in list(SOURCES)[1:]:
        desk.mirrors[name] = str(make_upstream(name).bare)
    assert [o.action for o in desk(jobs=4)] == ["cloned"] * 4
    config = desk.target / "repos_config.json"
    first, stamp = config.read_bytes(), config.stat().st_mtime_ns
    assert [o.action for o in desk(jobs=4)] == ["current"] * 4
    assert (config.read_bytes(), config.stat().st_mtime_ns) == (first, stamp)
    assert set(json.loads(first)["repositories"]) == set(SOURCES)
    assert sorted(path.name for path in desk.target.iterdir()) == sorted(
        [*SOURCES, "repos_config.json"]
    )


def test_entry_says_what_stands_there(desk: Any, upstream: Any, run_git: Git) -> None:
    run_git("tag", "v1.0", at=upstream.tree)
    sha = upstream.push()
    desk.one(revisions={"sglang": "main"})
    entry = desk.entry()
    assert (entry.sha, entry.branch, entry.tag, entry.revision) == (sha, "main", "v1.0", "main")
    assert entry.path == str(desk.path) and entry.url == str(upstream.bare)
    assert entry.cloned_at == entry.updated_at is not None
    assert (entry.blobs, entry.shallow, entry.local_changes) == ("none", False, 0)
    assert run_git("status", "--short", "--branch", at=desk.path) == "## main...origin/main"
    assert run_git("for-each-ref", "--format=%(refname)", "refs/kernelkit", at=desk.path) == ""


@pytest.mark.parametrize("kind", ["branch", "slashed", "tag", "annotated", "full", "part", "ref"])
def test_revisions(desk: Any, upstream: Any, run_git: Git, kind: str) -> None:
    tree = upstream.tree
    first = run_git("rev-parse", "HEAD", at=tree)
    names = {"branch": "release", "slashed": "release/v1", "tag": "v1", "annotated": "v2",
             "full": first, "part": first[:9], "ref": "refs/pr/7"}  # fmt: skip
    if kind in ("branch", "slashed"):
        run_git("push", "-q", upstream.bare, f"HEAD:refs/heads/{names[kind]}", at=tree)
    run_git("tag", "v1", at=tree)
    run_git("tag", "-a", "v2", "-m", "two", at=tree)
    run_git("push", "-q", upstream.bare, "HEAD:refs/pr/7", at=tree)
    upstream.commit({"src/b.py": "B = 1\n"})
    for action in ("cloned", "current"):
        outcome = desk.one(revisions={"sglang": names[kind]})
        assert (outcome.action, outcome.error, outcome.sha) == (action, None, first)
    branch = names[kind] if kind in ("branch", "slashed") else None
    assert (desk.entry().branch, desk.entry().revision) == (branch, names[kind])


def test_default_branch_is_the_remotes(desk: Any, upstream: Any, run_git: Git) -> None:
    run_git("branch", "-m", "trunk", at=upstream.tree)
    upstream.push()
    run_git("symbolic-ref", "HEAD", "refs/heads/trunk", at=upstream.bare)
    assert desk.one().branch == "trunk"


def test_unknown_revision_names_close_ones(desk: Any, upstream: Any, run_git: Git) -> None:
    run_git("tag", "v0.5.14", at=upstream.tree)
    upstream.push()
    outcome = desk.one(revisions={"sglang": "v0.5.41"})
    assert outcome.failed and "v0.5.14" in outcome.error
    assert not desk.path.exists()


def test_depth(desk: Any, upstream: Any, run_git: Git) -> None:
    for number in range(4):
        upstream.commit({"n": str(number)})
    desk.mirrors["sglang"] = f"file://{upstream.bare}"
    desk.one(depth=2)
    assert run_git("rev-list", "--count", "HEAD", at=desk.path) == "2"
    assert desk.entry().shallow
    newest = [upstream.commit({"n": str(number)}) for number in range(10, 13)][-1]
    outcome = desk.one(depth=1)
    assert (outcome.action, outcome.sha) == ("updated", newest)
    assert run_git("rev-list", "--count", "HEAD", at=desk.path) == "5"
    run_git("push", "-q", upstream.bare, "HEAD~2:refs/heads/older", at=upstream.tree)
    assert desk.one(revisions={"sglang": "older"}).branch == "older"


@pytest.mark.parametrize(
    "kind", ["absent", "empty folder", "file", "not a repository", "no commit"]
)
def test_broken_mirror_stops_no_other(
    desk: Any, make_upstream: Any, tmp_path: Path, run_git: Git, kind: str
) -> None:
    broken = tmp_path / "broken"
    if kind == "file":
        broken.write_text("text")
    elif kind != "absent":
        broken.mkdir()
        if kind == "not a repository":
            (broken / "HEAD").write_text("x")
        elif kind == "no commit":
            run_git("init", "-q", "--bare", at=broken)
    desk.mirrors["flashinfer"] = str(broken)
    good, bad = desk("sglang", "flashinfer")
    assert (good.action, bad.action) == ("cloned", "failed")
    assert bad.error and "Traceback" not in bad.error
    assert set(json.loads((desk.target / "repos_config.json").read_text())["repositories"]) == {
        "sglang"
    }
    assert not (desk.target / "flashinfer").exists()


@pytest.mark.parametrize("kind", ["file", "full folder", "folder inside another repository"])
def test_what_stands_in_the_way_is_left(desk: Any, run_git: Git, kind: str) -> None:
    desk.target.mkdir()
    if kind == "file":
        desk.path.write_text("mine")
    else:
        desk.path.mkdir()
        (desk.path / "mine").write_text("mine")
    if kind.startswith("folder inside"):
        run_git("init", "-q", at=desk.target)
    for force in (False, True):
        outcome = desk.one(force=force)
        assert outcome.action == "failed" and "move it away" in outcome.next_step
    kept = desk.path if kind == "file" else desk.path / "mine"
    assert kept.read_text() == "mine"


def test_empty_folder_and_link_to_one(desk: Any, tmp_path: Path) -> None:
    real = tmp_path / "big disk"
    real.mkdir()
    desk.target.mkdir()
    desk.path.symlink_to(real)
    assert desk.one().action == "cloned"
    assert (real / "README.md").is_file() and desk.path.is_symlink()
    assert desk.one().action == "current"


def test_dry_run_writes_nothing(desk: Any) -> None:
    outcome = desk.one(dry_run=True)
    assert (outcome.action, outcome.branch) == ("would clone", "main")
    assert not desk.target.exists()


def test_a_hook_around_the_run_does_not_lead_astray(
    desk: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere.index"))
    assert desk.one().action == "cloned"
    assert not (tmp_path / "elsewhere.git").exists()


def test_one_run_at_a_time(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.target.mkdir()
    monkeypatch.setattr("kernelkit.sources.fetch.alone_in", lambda f: alone_in(f, patience_s=0.2))
    with alone_in(desk.target), pytest.raises(ConflictError, match="another run"):
        desk.one()
    assert desk.one().action == "cloned"


def test_names_and_mirrors() -> None:
    assert [source.name for source in select(["flashinfer", "flashinfer"])] == ["flashinfer"]
    assert len(select(None)) == 4
    for bad in (["vllm=x"], ["sglang"], ["sglang="], ["sglang=a", "sglang=b"]):
        with pytest.raises(UsageError):
            mirrors(bad)
    with pytest.raises(UsageError, match="sgl-cookbook"):
        select(["cookbook"])
    assert Path(mirrors(["sglang=../x"])["sglang"]).is_absolute()
    assert mirrors(["sglang=git@host:a/b.git"])["sglang"] == "git@host:a/b.git"
    assert [is_local(a) for a in ("/a", "../a", "a", "~/a")] == [True] * 4
    assert [is_local(a) for a in ("https://a/b", "ssh://a", "h:b", "file:///a")] == [False] * 4
