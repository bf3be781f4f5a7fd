"""Updates: what a checkout alone has is never lost, and what --force throws away is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Git = Callable[..., str]


@pytest.fixture
def cloned(desk: Any) -> Any:
    """A desk whose sglang is cloned."""
    assert desk.one().action == "cloned"
    return desk


def _tree(path: Path) -> dict[str, str]:
    files = (p for p in path.rglob("*") if p.is_file() and ".git" not in p.relative_to(path).parts)
    return {str(p.relative_to(path)): p.read_text() for p in files}


def test_clean_checkout_follows(cloned: Any, upstream: Any) -> None:
    before = cloned.entry()
    sha = upstream.commit({"src/a.py": "A = 2\n", "src/b.py": "B\n", "README.md": None})
    outcome = cloned.one()
    assert (outcome.action, outcome.before, outcome.sha) == ("updated", before.sha, sha)
    assert _tree(cloned.path) == {"src/a.py": "A = 2\n", "src/b.py": "B\n"}
    assert cloned.entry().sha == sha and cloned.entry().cloned_at == before.cloned_at
    assert cloned.one().action == "current"


@pytest.mark.parametrize("staged", [False, True])
def test_changes_that_are_not_touched_stay(
    cloned: Any, upstream: Any, run_git: Git, staged: bool
) -> None:
    (cloned.path / "README.md").write_text("mine\n")
    (cloned.path / "new.json").write_text("staged work\n")
    if staged:
        run_git("add", "--all", at=cloned.path)
    upstream.commit({"src/a.py": "A = 2\n"})
    outcome = cloned.one()
    assert outcome.action == "updated" and not outcome.lost
    assert _tree(cloned.path) == {
        "README.md": "mine\n", "new.json": "staged work\n", "src/a.py": "A = 2\n"}  # fmt: skip
    assert cloned.entry().local_changes == (2 if staged else 1)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("local", "upstreams", "lost"),
    [
        ({"src/a.py": "mine\n"}, {"src/a.py": "A = 2\n"}, "modified: src/a.py"),
        ({"src/a.py": None}, {"src/a.py": "A = 2\n"}, "modified: src/a.py"),
        ({"new.py": "mine\n"}, {"new.py": "theirs\n"}, "untracked: new.py"),
        ({"src/a.py": "mine\n"}, {"src/a.py": None}, "modified: src/a.py"),
    ],
    ids=["modified", "deleted", "untracked", "removed upstream"],
)
def test_what_would_be_overwritten_is_refused_and_listed(
    cloned: Any, upstream: Any, run_git: Git, local: dict, upstreams: dict, lost: str, dry_run: bool
) -> None:
    for name, text in local.items():
        path = cloned.path / name
        path.unlink() if text is None else path.write_text(text)
    upstream.commit(upstreams)
    run_git("fetch", "-q", upstream.bare, "main", at=cloned.path)  # a dry run fetches nothing
    before, head = _tree(cloned.path), run_git("rev-parse", "HEAD", at=cloned.path)
    for _ in range(2):
        outcome = cloned.one(dry_run=dry_run)
        assert (outcome.action, outcome.lost) == ("refused", [lost])
        assert "--force" in outcome.next_step
    assert _tree(cloned.path) == before
    assert run_git("rev-parse", "HEAD", at=cloned.path) == head


def test_force_resets_and_keeps(cloned: Any, upstream: Any, run_git: Git) -> None:
    (cloned.path / "src/a.py").write_text("mine\n")
    (cloned.path / "README.md").write_text("mine, too\n")
    (cloned.path / "new.py").write_text("mine as well\n")
    (cloned.path / "free.py").write_text("nobody else's\n")
    run_git("commit", "-q", "-m", "own work", "README.md", at=cloned.path)
    upstream.commit({"src/a.py": "A = 2\n", "new.py": "theirs\n"})
    planned = cloned.one(force=True, dry_run=True)
    assert planned.action == "would reset" and "modified: src/a.py" in planned.lost
    outcome = cloned.one(force=True)
    own, *rest = outcome.lost
    assert own.startswith("commit: ") and own.endswith(" own work")
    assert rest == ["modified: src/a.py", "untracked: new.py"]
    assert _tree(cloned.path) == {"README.md": "sglang\n", "src/a.py": "A = 2\n",
                                  "new.py": "theirs\n", "free.py": "nobody else's\n"}  # fmt: skip
    ref = next(note for note in outcome.notes if "is kept" in note).split()[-1]
    for name, text in (
        ("src/a.py", "mine"),
        ("README.md", "mine, too"),
        ("new.py", "mine as well"),
    ):
        assert run_git("show", f"{ref}:{name}", at=cloned.path) == text
    assert cloned.one().action == "current"
    assert cloned.one(force=True).action == "current"


def test_force_drops_changes_of_a_checkout_that_is_current(cloned: Any) -> None:
    (cloned.path / "src/a.py").write_text("mine\n")
    assert cloned.one().action == "current"
    outcome = cloned.one(force=True)
    assert (outcome.action, outcome.lost) == ("updated", ["modified: src/a.py"])
    assert (cloned.path / "src/a.py").read_text() == "A = 1\n"


@pytest.mark.parametrize("dry_run", [False, True])
def test_diverged_branch_is_refused(
    cloned: Any, upstream: Any, run_git: Git, dry_run: bool
) -> None:
    (cloned.path / "own.json").write_text("{}\n")
    run_git("add", "own.json", at=cloned.path)
    run_git("commit", "-q", "-m", "definitions of my own", at=cloned.path)
    mine = run_git("rev-parse", "HEAD", at=cloned.path)
    upstream.commit({"src/a.py": "A = 2\n"})
    outcome = cloned.one(dry_run=dry_run)
    assert outcome.action == "refused" and "commits of its own" in outcome.error
    assert [line.split(" ", 2)[2] for line in outcome.lost] == ["definitions of my own"]
    assert run_git("rev-parse", "HEAD", at=cloned.path) == mine


def test_branch_ahead_stays(cloned: Any, run_git: Git) -> None:
    run_git("commit", "-q", "--allow-empty", "-m", "own", at=cloned.path)
    mine = run_git("rev-parse", "HEAD", at=cloned.path)
    assert cloned.one(dry_run=True).action == "kept"
    outcome = cloned.one()
    assert outcome.action == "kept" and "ahead" in outcome.notes[0]
    assert cloned.entry().sha == mine


def test_rewritten_upstream_is_followed_where_nothing_is_lost(
    cloned: Any, upstream: Any, run_git: Git
) -> None:
    upstream.commit({"src/a.py": "A = 2\n"})
    cloned.one()
    (cloned.path / "README.md").write_text("mine\n")
    run_git("reset", "-q", "--hard", "HEAD~1", at=upstream.tree)
    sha = upstream.commit({"src/a.py": "A = 3\n"})
    outcome = cloned.one()
    assert (outcome.action, outcome.sha) == ("updated", sha)
    assert _tree(cloned.path) == {"README.md": "mine\n", "src/a.py": "A = 3\n"}


def test_switching_branches_loses_nothing(cloned: Any, upstream: Any, run_git: Git) -> None:
    run_git("checkout", "-q", "-b", "topic", at=cloned.path)
    run_git("commit", "-q", "--allow-empty", "-m", "own", at=cloned.path)
    mine = run_git("rev-parse", "HEAD", at=cloned.path)
    outcome = cloned.one()  # nothing asked: the topic branch is left alone
    assert outcome.action == "kept" and "stays on topic" in outcome.notes[0]
    sha = upstream.commit({"src/a.py": "A = 2\n"})
    outcome = cloned.one(revisions={"sglang": "main"})
    assert (outcome.action, outcome.sha, outcome.branch) == ("updated", sha, "main")
    assert run_git("rev-parse", "topic", at=cloned.path) == mine


def test_second_run_with_a_tag(cloned: Any, upstream: Any, run_git: Git) -> None:
    run_git("tag", "v0.4.0", at=upstream.tree)
    old = upstream.push()
    upstream.commit({"src/a.py": "A = 2\n"})
    for action in ("current", "updated"):
        cloned.one(revisions={"sglang": "main"})
        outcome = cloned.one(revisions={"sglang": "v0.4.0"})
        assert (outcome.sha, outcome.branch) == (old, None)
        assert outcome.action == "updated", action
    assert cloned.one(revisions={"sglang": "v0.4.0"}).action == "current"
    outcome = cloned.one()
    assert outcome.action == "kept" and "no branch" in outcome.notes[0]


def test_commits_on_a_detached_head_get_a_name(cloned: Any, upstream: Any, run_git: Git) -> None:
    run_git("checkout", "-q", "--detach", at=cloned.path)
    run_git("commit", "-q", "--allow-empty", "-m", "own", at=cloned.path)
    mine = run_git("rev-parse", "HEAD", at=cloned.path)
    assert cloned.one(revisions={"sglang": "main"}).action == "updated"
    assert run_git("for-each-ref", "--contains", mine, at=cloned.path)


@pytest.mark.parametrize("operation", ["merge", "rebase"])
def test_an_operation_under_way_is_left(
    cloned: Any, upstream: Any, run_git: Git, operation: str
) -> None:
    path = cloned.path
    run_git("checkout", "-q", "-b", "topic", at=path)
    (path / "src/a.py").write_text("mine\n")
    run_git("commit", "-q", "-am", "own", at=path)
    run_git("checkout", "-q", "main", at=path)
    (path / "src/a.py").write_text("other\n")
    run_git("commit", "-q", "-am", "other", at=path)
    with pytest.raises(AssertionError):
        run_git(operation, "topic", at=path)
    upstream.commit({"src/b.py": "B\n"})
    for force in (False, True):
        outcome = cloned.one(force=force, revisions={"sglang": "main"})
        assert outcome.action == "failed" and f"{operation} --abort" in outcome.next_step
    assert "<<<<<<<" in (path / "src/a.py").read_text()


def test_mirror_of_an_existing_checkout(
    cloned: Any, upstream: Any, run_git: Git, tmp_path: Path
) -> None:
    run_git("clone", "-q", "--mirror", upstream.bare, tmp_path / "second.git", at=tmp_path)
    upstream.bare = tmp_path / "second.git"
    sha = upstream.commit({"src/a.py": "A = 2\n"})
    origin = run_git("remote", "get-url", "origin", at=cloned.path)
    outcome = cloned.one(mirrors={"sglang": str(upstream.bare)})
    assert (outcome.sha, outcome.url) == (sha, str(upstream.bare))
    assert run_git("remote", "get-url", "origin", at=cloned.path) == origin
    assert cloned.one(mirrors={}).url == origin  # without a mirror: the checkout's own origin


def test_broken_checkout_is_named(cloned: Any, run_git: Git) -> None:
    run_git("init", "-q", at=cloned.target)  # a repository around it must not answer for it
    (cloned.path / ".git" / "HEAD").write_text("nonsense")
    outcome = cloned.one()
    assert outcome.action == "failed" and "not a git repository" in outcome.error


def test_offline_records_what_is_there(cloned: Any, upstream: Any, make_upstream: Any) -> None:
    cloned.mirrors["flashinfer"] = str(make_upstream("flashinfer").bare)
    upstream.commit({"src/a.py": "A = 2\n"})
    (cloned.target / "repos_config.json").unlink()
    here, absent = cloned("sglang", "flashinfer", offline=True)
    assert (here.action, here.sha) == ("kept", cloned.entry().sha)
    assert absent.failed and cloned.entry().cloned_at is None


def test_removed_checkout_leaves_the_config(cloned: Any) -> None:
    import shutil

    from kernelkit.errors import UsageError
    from kernelkit.sources.config import read

    assert read(cloned.target).path_of("sglang") == cloned.path
    shutil.rmtree(cloned.path)
    with pytest.raises(UsageError, match="not cloned"):
        read(cloned.target).path_of("sglang")
    assert cloned.one(offline=True).failed
    assert read(cloned.target).repositories == {}
