"""Bring a checkout to the commit that is wanted, without losing what only it has.

Local changes stay where the new commit does not touch them. Where it does, and where a branch has
commits of its own and the remote went another way, the move is refused and what would be lost is
listed; with `force` that is kept under refs/kernelkit/before-force and the checkout is reset.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from kernelkit.errors import ConflictError, UsageError
from kernelkit.sources import checkout as state
from kernelkit.sources.checkout import FETCHED, Checkout
from kernelkit.sources.git import Git, GitError, Progress
from kernelkit.sources.interrupted import announced
from kernelkit.sources.keeping import backup, keep_detached
from kernelkit.sources.outcome import CURRENT, KEPT, UPDATED, Outcome
from kernelkit.sources.remote import Remote, Wanted


class RefusedError(ConflictError):
    """A move would lose what only the checkout has; `lost` lists it."""

    def __init__(self, what: str, lost: list[str]) -> None:
        self.lost = lost
        super().__init__(what, next_step="commit and push it, or move it away; or run with --force")


@dataclass(frozen=True)
class Move:
    """From where the checkout is to the commit `sha` of the remote's `wanted`."""

    here: Checkout
    wanted: Wanted
    sha: str  # what the remote has
    tip: str | None  # the local branch that would change; None: there is none

    @property
    def done(self) -> bool:
        """Whether the checkout is at the commit, on the branch."""
        return self.here.head == self.sha and self.here.branch == self.wanted.branch


def fetch(
    git: Git, path: Path, remote: Remote, wanted: Wanted, progress: Progress, depth: int | None
) -> None:
    """Fetch the wanted commit into a ref that holds it. Raises GitError.

    The remote-tracking branch stays as it is until the move is made: it tells which commits of
    the checkout are its own.
    """
    words = ["fetch", "--progress", "--no-recurse-submodules", "--no-write-fetch-head"]
    shallow = [f"--depth={depth}"] if depth else []
    everything = "+refs/heads/*:refs/remotes/origin/*"
    hold = f"refs/tags/{wanted.name}" if wanted.kind == "tag" else f"{FETCHED}/{wanted.sha}"
    goal = everything if wanted.kind == "part" else f"+{wanted.ref}:{hold}"
    try:
        git.long(*words, *shallow, "--", remote.url, goal, at=path, progress=progress)
    except GitError as error:
        if wanted.kind != "commit" or error.passing:
            raise
        # Some servers hand out only what a ref names: then the commit comes with a branch.
        git.long(*words, "--", remote.url, everything, at=path, progress=progress)


def commit_of(git: Git, path: Path, wanted: Wanted) -> str:
    """The wanted commit's full name, now that it is fetched. Raises UsageError if there is none."""
    name = wanted.sha or wanted.name
    found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", at=path, ok=(0, 1, 128))
    if not found.strip():
        raise UsageError("the repository has no such commit", received=name)
    return found.strip()


def place(git: Git, path: Path, branch: str | None, sha: str, *, force: bool = False) -> None:
    """Check `sha` out: as this branch, which is made or moved, or detached."""
    way = ["-B", branch] if branch else ["--detach"]
    forced = ["--force"] if force else []
    git("checkout", "--quiet", "--no-recurse-submodules", *forced, *way, sha, "--", at=path)


def record(git: Git, path: Path, wanted: Wanted, sha: str) -> None:
    """Let the checkout know where the remote's branch is, and that its own follows it."""
    if wanted.branch is None:
        return
    git("update-ref", f"refs/remotes/origin/{wanted.branch}", sha, at=path)
    git("update-ref", "-d", f"{FETCHED}/{sha}", at=path)
    git("config", f"branch.{wanted.branch}.remote", "origin", at=path)
    git("config", f"branch.{wanted.branch}.merge", wanted.ref, at=path)


def plan(git: Git, here: Checkout, wanted: Wanted, sha: str) -> Move:
    """The move to `sha`. Raises ConflictError where someone's merge or rebase is under way."""
    if here.operation:
        raise ConflictError(
            f"a {here.operation} is under way in {here.path}",
            next_step=f"end it: git -C {quote(str(here.path))} {here.operation} --abort",
        )
    tip = None
    if wanted.branch:
        name = f"refs/heads/{wanted.branch}"
        tip = git("rev-parse", "--verify", "--quiet", name, at=here.path, ok=(0, 1)).strip()
    return Move(here, wanted, sha, tip or None)


def move(git: Git, step: Move, outcome: Outcome, *, force: bool) -> None:
    """Make the move, or raise RefusedError with what it would lose."""
    here = step.here
    changes = state.changed(git, here.path) if here.head else []
    if force:
        _reset(git, step, changes, outcome)
    else:
        _advance(git, step, changes, outcome)
        if changes:
            outcome.notes.append(f"{len(changes)} changed files are kept: {few(changes)}")
    record(git, here.path, step.wanted, step.sha)


def _advance(git: Git, step: Move, changes: list[str], outcome: Outcome) -> None:
    """Move without losing anything; a branch that is ahead of the remote's stays ahead."""
    here, goal = step.here, step.sha
    if step.tip not in (None, goal) and state.is_ancestor(git, here.path, goal, step.tip):
        own = state.own_commits(git, here.path, step.tip, step.wanted.branch)
        outcome.notes.append(f"{step.wanted.branch} is ahead of the remote: {few(own)}")
        goal = step.tip
    if here.head == goal and here.branch == step.wanted.branch:
        outcome.action = CURRENT if step.done else KEPT
        return
    what, lost = losses(git, step, goal, changes)
    if lost:
        raise RefusedError(what, lost)
    keep_detached(git, here)
    with announced(here, goal):
        place(git, here.path, step.wanted.branch, goal)
    outcome.action = UPDATED


def losses(git: Git, step: Move, goal: str, changes: list[str]) -> tuple[str, list[str]]:
    """Why the move to `goal` would lose something, and what; an empty list: nothing."""
    here = step.here
    own = _dropped(git, step, goal)
    touched = set(_differing(git, here, goal))
    lost = [f"commit: {line}" for line in own]
    lost += [f"modified: {name}" for name in changes if name in touched]
    lost += [f"untracked: {name}" for name in state.in_the_way(git, here.path, here.head, goal)]
    if own:
        return f"{step.wanted.branch} has commits of its own, and so has the remote", lost
    return "the update would overwrite local files", lost


def _dropped(git: Git, step: Move, goal: str) -> list[str]:
    """Commits that only the branch has and `goal` has not."""
    path = step.here.path
    if step.tip is None or state.is_ancestor(git, path, step.tip, goal):
        return []
    return state.own_commits(git, path, step.tip, step.wanted.branch)


def _differing(git: Git, here: Checkout, sha: str) -> list[str]:
    if here.head is None:
        return []
    words = ("diff", "--name-only", "--no-renames", "-z", here.head, sha)
    return git(*words, at=here.path).split("\0")


def _reset(git: Git, step: Move, changes: list[str], outcome: Outcome) -> None:
    """Throw local changes and commits away, after keeping them under a ref of their own."""
    here = step.here
    in_the_way = state.in_the_way(git, here.path, here.head, step.sha)
    own = _dropped(git, step, step.sha)
    outcome.lost = [f"commit: {line}" for line in own]
    outcome.lost += [f"modified: {name}" for name in changes]
    outcome.lost += [f"untracked: {name}" for name in in_the_way]
    if outcome.lost:
        ref = backup(git, here, step.tip if own else here.head, [*changes, *in_the_way])
        outcome.notes.append(
            f"what was thrown away is kept: git -C {quote(str(here.path))} show {ref}"
        )
    keep_detached(git, here)
    with announced(here, step.sha):
        place(git, here.path, step.wanted.branch, step.sha, force=True)
    outcome.action = CURRENT if step.done and not outcome.lost else UPDATED


def few(lines: list[str], count: int = 3) -> str:
    """The first of these, and how many more there are."""
    more = f" and {len(lines) - count} more" if len(lines) > count else ""
    return ", ".join(lines[:count]) + more
