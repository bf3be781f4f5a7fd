"""Git-LFS objects: left as pointers unless asked for, counted, and fetched by pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import MissingDependencyError
from kernelkit.sources.git import Git, GitError, Progress

_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_LIMIT = 1024  # bytes; the specification's limit
_SIZE = re.compile(rb"^size (\d+)$", re.MULTILINE)
INSTALL = "apt install git-lfs (or brew install git-lfs)"


@dataclass(frozen=True)
class Pointers:
    """Files of a checkout that stand for an object which was not fetched."""

    count: int
    bytes: int

    def __str__(self) -> str:
        size = f"{self.bytes / 1e9:.1f} GB" if self.bytes >= 1e9 else f"{self.bytes / 1e6:.1f} MB"
        return f"{self.count} recorded files ({size}) are Git-LFS pointers"


def uses_lfs(path: Path) -> bool:
    """Whether the checkout's attributes give files to Git-LFS."""
    attributes = path / ".gitattributes"
    return attributes.is_file() and b"filter=lfs" in attributes.read_bytes()


def pointers(git: Git, path: Path) -> tuple[Pointers, int]:
    """The pointers among the checkout's LFS files, and how many are fetched objects."""
    count = total = objects = 0
    for name in _lfs_files(git, path):
        size = _stands_for(path / name)
        if size is None:
            objects += (path / name).is_file()
        else:
            count, total = count + 1, total + size
    return Pointers(count, total), objects


def _lfs_files(git: Git, path: Path) -> list[str]:
    """The tracked files that the attributes give to Git-LFS."""
    tracked = git("ls-files", "-z", at=path).encode("utf-8", "surrogateescape")
    answers = git("check-attr", "-z", "--stdin", "filter", at=path, given=tracked).split("\0")
    return [
        name for name, value in zip(answers[::3], answers[2::3], strict=False) if value == "lfs"
    ]


def _stands_for(file: Path) -> int | None:
    """The bytes of the object that a pointer stands for; None for any other file."""
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > _POINTER_LIMIT:
            return None
        content = file.read_bytes()
    except OSError:
        return None
    size = _SIZE.search(content)
    return int(size.group(1)) if content.startswith(_POINTER) and size else None


def installed(git: Git) -> bool:
    """Whether git knows Git-LFS."""
    try:
        git("lfs", "version")
    except GitError:
        return False
    return True


def pull(git: Git, path: Path, url: str, patterns: str, progress: Progress) -> None:
    """Fetch from `url` the objects of the files that `patterns` (comma-separated globs) match.

    Raises MissingDependencyError without Git-LFS, GitError where an object cannot be had.
    """
    if not installed(git):
        raise MissingDependencyError(
            "git-lfs is not installed: recorded tensors stay pointers of about 130 bytes",
            next_step=f"{INSTALL}, then run this again",
        )
    git("lfs", "install", "--local", "--skip-smudge", at=path)
    words = ("lfs", "pull", f"--include={patterns}", "--exclude=")
    git.long(*words, at=path, progress=progress, settings=[f"remote.origin.url={url}"])
