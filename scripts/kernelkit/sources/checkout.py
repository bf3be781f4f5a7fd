"""What a checkout holds that its remote does not: changes, commits, unfinished operations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import ConflictError
from kernelkit.sources.git import Git, GitError

FETCHED = "refs/kernelkit/fetched"  # commits that came from a remote without a branch or a tag
_SHOWN_COMMITS = 200
_OPERATIONS = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


@dataclass(frozen=True)
class Checkout:
    """A working tree with its own .git, and what it is at."""

    path: Path
    git_dir: Path
    head: str | None  # None: no commit yet
    branch: str | None  # None: detached
    url: str | None  # of the remote `origin`
    shallow: bool

    @property
    def operation(self) -> str | None:
        """The merge, rebase or the like that someone began here and has not ended."""
        return next(
            (what for name, what in _OPERATIONS.items() if (self.git_dir / name).exists()), None
        )


def look(git: Git, path: Path) -> Checkout | None:
    """The checkout at `path`; None where nothing is, or an empty folder.

    Raises ConflictError for a file, and for a folder with contents that is no checkout of its own
    (a folder inside another repository is not a checkout of that one).
    """
    if not path.exists() and not path.is_symlink():
        return None
    if not path.is_dir():
        raise _in_the_way(path, "a file")
    if not (path / ".git").exists():
        if any(path.iterdir()):
            raise _in_the_way(path, "a folder that is no git checkout")
        return None
    # Without the ceiling, a broken .git would make git answer for a repository around it.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(path.resolve().parent)}
    found = git("rev-parse", "--absolute-git-dir", at=path.resolve(), environment=ceiling)
    git_dir = Path(found.rstrip("\n"))
    return Checkout(
        path=path,
        git_dir=git_dir,
        head=_line(git, path, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"),
        branch=_line(git, path, "symbolic-ref", "--quiet", "--short", "HEAD"),
        url=_line(git, path, "config", "--get", "remote.origin.url"),
        shallow=(git_dir / "shallow").exists(),
    )


def _in_the_way(path: Path, what: str) -> ConflictError:
    return ConflictError(
        f"{path} is {what}", next_step="move it away, or choose another --target-dir"
    )


def _line(git: Git, path: Path, *words: str) -> str | None:
    """The one line of a question that ends with 1 where there is no answer."""
    return git(*words, at=path, ok=(0, 1)).rstrip("\n") or None


def changed(git: Git, path: Path) -> list[str]:
    """Tracked files that differ from HEAD, staged or not; submodules by their commit only."""
    return _names(git("diff", "--name-only", "-z", "--ignore-submodules=all", "HEAD", at=path))


def untracked(git: Git, path: Path) -> list[str]:
    """Files that git does not know and does not ignore."""
    return _names(git("ls-files", "--others", "--exclude-standard", "-z", at=path))


def in_the_way(git: Git, path: Path, before: str | None, after: str) -> list[str]:
    """Untracked files (ignored ones, too) that `after` has and `before` has not."""
    if before is None:
        added = _names(git("ls-tree", "-r", "--name-only", "-z", after, at=path))
    else:
        words = ("diff", "--name-only", "--no-renames", "--diff-filter=A", "-z", before, after)
        added = _names(git(*words, at=path))
    known = set(_names(git("ls-files", "-z", at=path)))
    return [name for name in added if name not in known and _is_there(path / name)]


def _is_there(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())  # git replaces an empty folder
    return path.is_symlink() or path.exists()


def own_commits(git: Git, path: Path, tip: str, branch: str | None) -> list[str]:
    """Commits of `tip` that neither a remote, a tag nor another local branch has: `sha subject`."""
    words = ["log", f"--max-count={_SHOWN_COMMITS}", "--format=%h %s", tip, "--not"]
    if branch is not None:
        words.append(f"--exclude={branch}")
    words += ["--branches", "--remotes", "--tags", f"--glob={FETCHED}/*"]
    return git(*words, at=path).splitlines()


def is_ancestor(git: Git, path: Path, older: str, newer: str) -> bool:
    """Whether `newer` contains `older`."""
    return git.true("merge-base", "--is-ancestor", older, newer, at=path)


def has_commit(git: Git, path: Path, sha: str) -> bool:
    """Whether the commit is in the checkout's object store."""
    try:
        git("cat-file", "-e", f"{sha}^{{commit}}", at=path)
    except GitError:
        return False
    return True


def _names(output: str) -> list[str]:
    return [name for name in output.split("\0") if name]
