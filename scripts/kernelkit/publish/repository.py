"""A git repository that branches are made in: its remote, its base and its branches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote

from kernelkit.errors import ConflictError, UsageError
from kernelkit.sources.git import Git, GitError

_OWN_FOLDER = "kernelkit-publish"


def without_password(text: str) -> str:
    """A text in which no URL shows who logs in, and with what."""
    return re.sub(r"(https?://)[^/@\s]*@", r"\1", text)


@dataclass(frozen=True)
class Base:
    """The branch of the remote that pull requests go to, as this repository knows it."""

    branch: str
    sha: str


@dataclass
class Repository:
    """One checkout and the remote that its branches are pushed to."""

    root: Path
    git: Git
    remote: str

    @classmethod
    def open(cls, path: Path, git: Git, remote: str, *, what: str, option: str) -> Repository:
        """Raises UsageError where `path` is not the top of a checkout, or lacks the remote."""
        root = path.expanduser().resolve()
        if not root.is_dir():
            raise UsageError(f"{what}: no such folder", received=path)
        next_step = f"name a checkout with {option}"
        try:
            top = Path(git("rev-parse", "--show-toplevel", at=root).rstrip("\n")).resolve()
        except GitError as error:
            raise _no_checkout(what, path, root, str(error.received), next_step) from None
        if top != root:
            raise UsageError(
                f"{what} is a folder inside another git checkout", received=path,
                allowed=f"the top of a checkout (here: {top})", next_step=next_step,
            )  # fmt: skip
        made = cls(root, git, remote)
        made._require_remote(what)
        return made

    def _require_remote(self, what: str) -> None:
        names = self.git("remote", at=self.root).split()
        if self.remote not in names:
            raise UsageError(
                f"{what} has no such remote", received=self.remote,
                allowed=", ".join(names) or "none: git remote add origin URL",
                next_step="name one with --remote",
            )  # fmt: skip

    @cached_property
    def folder(self) -> Path:
        """The git folder that all worktrees share."""
        said = self.git("rev-parse", "--git-common-dir", at=self.root).rstrip("\n")
        return (self.root / said).resolve()

    @property
    def own_folder(self) -> Path:
        """Ours inside the git folder: worktrees stand here while they are needed."""
        made = self.folder / _OWN_FOLDER
        made.mkdir(exist_ok=True)
        return made

    @cached_property
    def url(self) -> str:
        """The remote's URL as it was given, before any `insteadOf`, without a password."""
        said = self.git("config", "--get", f"remote.{self.remote}.url", at=self.root).strip()
        return without_password(said)

    @property
    def base(self) -> Base:
        """The remote's default branch. Raises UsageError where it was never fetched."""
        prefix = f"refs/remotes/{self.remote}/"
        words = ("symbolic-ref", "--quiet", f"{prefix}HEAD")
        said = self.git(*words, at=self.root, ok=(0, 1, 128)).strip()
        for name in (said.removeprefix(prefix), "main", "master"):
            if name and (sha := self.commit_of(prefix + name)):
                return Base(name, sha)
        raise UsageError(
            f"{self.root} knows no main branch of {self.remote}",
            next_step=f"git -C {quote(str(self.root))} fetch {self.remote}",
        )

    def fetch(self) -> None:
        """Bring the base up to date. Raises GitError."""
        branch = self.base.branch
        ref = f"+refs/heads/{branch}:refs/remotes/{self.remote}/{branch}"
        self.git("fetch", "--quiet", "--no-tags", self.remote, ref, at=self.root)

    def commit_of(self, ref: str) -> str | None:
        """The commit that a ref names, or None."""
        words = ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        return self.git(*words, at=self.root, ok=(0, 1, 128)).strip() or None

    def merge_base(self, one: str, other: str) -> str | None:
        """The last commit that both have, or None."""
        return self.git("merge-base", one, other, at=self.root, ok=(0, 1, 128)).strip() or None

    def blobs(self, commit: str, paths: Iterable[str]) -> dict[str, str]:
        """Path and blob name of the commit's files that are one of `paths` or lie below one."""
        lines = self.git("ls-tree", "-r", "-z", commit, "--", *paths, at=self.root).split("\0")
        rows = (line.partition("\t") for line in lines if line)
        return {path: facts.split()[2] for facts, _, path in rows}

    def content(self, commit: str, path: str) -> bytes:
        """The content of a file of the commit, byte for byte. Raises GitError."""
        text = self.git("cat-file", "blob", f"{commit}:{path}", at=self.root)
        return text.encode("utf-8", "surrogateescape")

    def changed(self, since: str, commit: str) -> list[str]:
        """The paths in which two commits differ."""
        words = ("diff", "--name-only", "--no-renames", "-z", since, commit)
        return [path for path in self.git(*words, at=self.root).split("\0") if path]

    def touched(self, since: str, commit: str) -> list[str]:
        """The paths that any commit between two changed, also where a later one undid it."""
        words = ("log", "--format=", "--name-only", "--no-renames", "-z", f"{since}..{commit}")
        said = self.git(*words, at=self.root)
        return sorted({path.strip("\n") for path in said.split("\0")} - {""})

    def require_free(self, branch: str) -> None:
        """Raises UsageError for a name that git does not take, ConflictError where a checkout is
        on that branch: a commit to it would leave that checkout behind."""
        if not self.git.true("check-ref-format", f"refs/heads/{branch}"):
            raise UsageError("no branch can have this name", received=branch,
                             next_step="choose another --branch-prefix")  # fmt: skip
        folder = ""
        for line in self.git("worktree", "list", "--porcelain", at=self.root).splitlines():
            folder = line[9:] if line.startswith("worktree ") else folder
            if line == f"branch refs/heads/{branch}":
                raise ConflictError(
                    "the branch is checked out", received=f"{branch} in {folder}",
                    next_step=f"git -C {quote(folder)} switch --detach, or another --branch-prefix",
                )  # fmt: skip


def _no_checkout(what: str, path: Path, root: Path, said: str, next_step: str) -> UsageError:
    """Why git sees no checkout there. That it is another user's is no matter of the path."""
    if "dubious ownership" in said:
        return UsageError(
            f"{what} belongs to another user, and git does not read it", received=path,
            next_step=f"git config --global --add safe.directory {quote(str(root))}",
        )  # fmt: skip
    return UsageError(f"{what} is not a git checkout: {said}", received=path, next_step=next_step)
