"""Commits made in worktrees of their own: nobody's checkout changes, and none is left behind."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import ConflictError, KernelkitError
from kernelkit.publish import pointers
from kernelkit.publish.repository import Repository
from kernelkit.sources.git import GitError

# A worktree has pointers whether git-lfs is installed or not, and no hook of it stops a checkout.
_PLAIN = (
    "filter.lfs.smudge=", "filter.lfs.process=", "filter.lfs.clean=", "filter.lfs.required=false",
)  # fmt: skip
_NO_HOOKS = "core.hooksPath=/dev/null"
Source = Path | bytes  # a file to copy, or a content


@dataclass(frozen=True)
class Branch:
    """A branch and where it starts: the base, or its tip where an earlier run made it.

    `behind`: the base has changed the same files since, so the next commit brings both together.
    """

    name: str
    start: str
    tip: str | None  # None: the branch does not exist
    behind: bool = False


def branch_of(repository: Repository, name: str, belongs: Sequence[str]) -> Branch:
    """The branch of this name. One that exists is gone on with if it changes nothing else than
    the paths that are, or lie below, one of `belongs`. Raises ConflictError otherwise."""
    repository.require_free(name)
    base = repository.base.sha
    tip = repository.commit_of(f"refs/heads/{name}")
    if tip is None:
        return Branch(name, base, None)
    since = repository.merge_base(base, tip)
    changed = repository.changed(since, tip) if since else []
    foreign = [path for path in changed if not is_below(path, belongs)]
    if since is None or foreign:
        why = f"it changes {', '.join(foreign[:3])}" if foreign else "it has another history"
        raise ConflictError(
            "a branch of this name exists and was not made for this", received=f"{name}: {why}",
            next_step=f"choose another --branch-prefix, or git branch -m {name} NEW_NAME",
        )  # fmt: skip
    if any(is_below(path, belongs) for path in repository.changed(since, base)):
        return Branch(name, base, tip, behind=True)
    return Branch(name, tip, tip)


def is_below(path: str, roots: Sequence[str]) -> bool:
    """Whether the path is one of the roots or lies below one; `*` in a root is any one folder."""
    parts = path.split("/")
    return any(_matches(parts, root.split("/")) for root in roots)


def _matches(parts: Sequence[str], root: Sequence[str]) -> bool:
    pairs = zip(parts, root, strict=False)
    return len(parts) >= len(root) and all(want in ("*", part) for part, want in pairs)


@dataclass
class Workspace:
    """A worktree while it exists."""

    repository: Repository
    tree: Path
    start: str

    def write(self, files: Mapping[str, Source], removed: Sequence[str] = ()) -> list[str]:
        """Put the files into the tree and its index, recorded tensors as pointers in the index.

        Returns the paths that are pointers there.
        """
        for path, source in files.items():
            _place(self.tree / path, source)
        lfs = pointers.given_to_lfs(self.repository.git, self.tree, list(files))
        entries = [f"0 {'0' * 40}\t{path}" for path in removed]
        for path in removed:
            (self.tree / path).unlink(missing_ok=True)
        entries += [f"100644 {self._object(path, path in lfs)}\t{path}" for path in files]
        given = "".join(f"{entry}\0" for entry in entries).encode("utf-8", "surrogateescape")
        self.repository.git("update-index", "-z", "--index-info", at=self.tree, given=given)
        return sorted(lfs)

    def _object(self, path: str, is_lfs: bool) -> str:
        file = self.tree / path
        held = pointers.object_of(file) if is_lfs else None
        words = ["hash-object", "-w", "--no-filters"]
        if held is None:
            return self.repository.git(*words, "--", str(file), at=self.tree).strip()
        pointers.store(self.repository.folder, file, held)
        return self.repository.git(*words, "--stdin", at=self.tree, given=held.text).strip()

    def commit(self, message: str, branch: Branch, *, hooks: bool) -> str:
        """Commit the index and set the branch to it; the tip where there is nothing to commit.

        Raises KernelkitError where git has no author, a hook refuses, or the branch has moved.
        """
        git = self.repository.git
        if branch.behind:
            tree = git("write-tree", at=self.tree).strip()
            parents = ("-p", str(branch.tip), "-p", branch.start)
            sha = git("commit-tree", tree, *parents, "-m", message, at=self.tree).strip()
        elif git.true("diff", "--cached", "--quiet", at=self.tree):
            sha = self.start
        else:
            settings = _PLAIN if hooks else (*_PLAIN, _NO_HOOKS)
            try:
                git("commit", "--quiet", "--message", message, at=self.tree, settings=settings)
            except GitError as error:
                raise _commit_error(error) from None
            sha = git("rev-parse", "HEAD", at=self.tree).strip()
        if branch.tip != sha:
            ref = f"refs/heads/{branch.name}"
            git("update-ref", ref, sha, branch.tip or "0" * len(sha), at=self.tree)
        return sha


def _commit_error(error: GitError) -> KernelkitError:
    said = str(error.received)
    if re.search(r"tell me who you are|auto-detect|empty ident", said):
        return KernelkitError(
            "git has no author for the commit",
            next_step="git config --global user.name NAME, and user.email ADDRESS",
        )
    return KernelkitError(
        "the commit was refused", received=said,
        next_step="mend what the repository's hooks say, then run this again",
    )  # fmt: skip


@contextmanager
def worktree(
    repository: Repository, name: str, start: str, only: Sequence[str] = ()
) -> Iterator[Workspace]:
    """A worktree at `start`, gone when the block ends, however it ends.

    `only`: the files and folders to check out (pathspecs); the index has all. A dataset has tens
    of thousands of recorded tensors, and one definition needs few. A worktree that a killed run
    left in its place is removed first.
    """
    tree = repository.own_folder / hashlib.sha256(name.encode()).hexdigest()[:12]
    _remove(repository, tree)
    words = ["worktree", "add", "--quiet", "--detach", *["--no-checkout"] * bool(only)]
    settings = (*_PLAIN, _NO_HOOKS)
    try:
        repository.git(*words, str(tree), start, at=repository.root, settings=settings)
        if only:
            repository.git("read-tree", "HEAD", at=tree)
            names = repository.git("ls-files", "-z", "--", *only, at=tree)
            given = names.encode("utf-8", "surrogateescape")
            words = ["checkout-index", "--quiet", "-z", "--stdin"]
            repository.git(*words, at=tree, settings=settings, given=given)
        yield Workspace(repository, tree, start)
    finally:
        _remove(repository, tree)


def _remove(repository: Repository, tree: Path) -> None:
    """By folder and by prune: `worktree remove` refuses what a kill left half made."""
    if tree.exists():
        shutil.rmtree(tree)
    repository.git("worktree", "prune", at=repository.root)


def _place(target: Path, source: Source) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        target.unlink(missing_ok=True)
        target.write_bytes(source)
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)
