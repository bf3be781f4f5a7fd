"""Git-LFS without git-lfs: the pointer that a commit holds, and the object beside it.

A pointer is text (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md), so a commit with
recorded tensors can be made without the program; only sending the objects needs it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kernelkit.dataset.store import LFS_MAGIC, is_lfs_pointer
from kernelkit.sources.git import Git

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Object:
    """What a pointer stands for."""

    oid: str  # SHA-256 in hex
    size: int  # bytes

    @property
    def text(self) -> bytes:
        """The pointer file."""
        return LFS_MAGIC + f"\noid sha256:{self.oid}\nsize {self.size}\n".encode()


def object_of(path: Path) -> Object | None:
    """The object that the file is; None where it is a pointer itself."""
    if is_lfs_pointer(path):
        return None
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return Object(digest.hexdigest(), path.stat().st_size)


def store(git_folder: Path, path: Path, held: Object) -> None:
    """Put the file where git-lfs looks for the object, so that it can be sent from there."""
    target = git_folder / "lfs" / "objects" / held.oid[:2] / held.oid[2:4] / held.oid
    if target.is_file() and target.stat().st_size == held.size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{held.oid}.{os.getpid()}")
    shutil.copyfile(path, temporary)
    os.replace(temporary, target)


def given_to_lfs(git: Git, tree: Path, names: list[str]) -> set[str]:
    """Those of the paths that the checkout's attributes give to Git-LFS."""
    if not names:
        return set()
    given = "\0".join(names).encode("utf-8", "surrogateescape")
    answers = git("check-attr", "-z", "--stdin", "filter", at=tree, given=given).split("\0")
    pairs = zip(answers[::3], answers[2::3], strict=False)
    return {name for name, value in pairs if value == "lfs"}
