"""Runs that were killed: what they left is found and put right, and nothing else is touched.

A clone is made under a temporary name and renamed when it is whole. A move of a checkout from one
commit to another is announced in its .git before it begins. Where the announcement is still there,
the move was cut off: the files it was about to write are put back, each only if it holds what one
of the two commits has (or the beginning of it, or nothing). Any other content is someone's work.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kernelkit.dataset.atomic import TEMPORARY_SUFFIX, write_text
from kernelkit.errors import ConflictError
from kernelkit.sources.checkout import Checkout
from kernelkit.sources.git import Git

_MARKER = "kernelkit-move.json"
_LINK, _SUBMODULE = "120000", "160000"
_ABSENT = "0" * 40
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # known to git in any repository


def temporary(path: Path) -> Path:
    """A name beside `path` for a clone in the making."""
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")


def remove_leftovers(path: Path) -> None:
    """Remove clones of `path` that killed runs left unfinished. Call under the folder's lock."""
    for left in path.parent.glob(f".{path.name}.*{TEMPORARY_SUFFIX}"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def announced(checkout: Checkout, after: str | None) -> Iterator[None]:
    """Announce a move to `after` (None: a fetch, which moves nothing) while the block runs.

    A move that fails stays announced: git may have written a part of it (a full disk).
    """
    marker = checkout.git_dir / _MARKER
    write_text(marker, json.dumps({"before": checkout.head, "after": after}))
    try:
        yield
    except Exception:
        if after is None:
            marker.unlink()
        raise
    marker.unlink()


def cut_off(checkout: Checkout) -> bool:
    """Whether a killed run's announcement is there."""
    return (checkout.git_dir / _MARKER).is_file()


def mend(git: Git, checkout: Checkout, *, discard: bool) -> bool:
    """Put a checkout whose move was cut off back to where it was. False: there was nothing.

    Raises ConflictError where files hold what neither of the two commits has; with `discard` they
    are left to the reset that follows.
    """
    marker = checkout.git_dir / _MARKER
    if not cut_off(checkout):
        return False
    _remove_locks(checkout.git_dir, marker.stat().st_mtime_ns)
    move = json.loads(marker.read_text(encoding="utf-8"))
    before, after = move["before"], move["after"]
    if after is not None and checkout.head == before and not discard:
        _put_back(git, checkout.path, list(_touched(git, checkout.path, before, after)))
    marker.unlink()
    return True


def _remove_locks(git_dir: Path, since_ns: int) -> None:
    """Remove git's lock files that are younger than the announcement: their owner is dead."""
    for lock in [*git_dir.glob("*.lock"), *(git_dir / "refs").rglob("*.lock")]:
        if lock.lstat().st_mtime_ns >= since_ns:
            lock.unlink()


@dataclass(frozen=True)
class _File:
    """A path that the move changes, as blobs and modes of both commits (zeros: absent there)."""

    name: str
    modes: tuple[str, str]
    blobs: tuple[str, str]


def _touched(git: Git, path: Path, before: str | None, after: str) -> Iterator[_File]:
    words = ("diff", "--raw", "--no-abbrev", "--no-renames", "-z", before or _EMPTY_TREE, after)
    fields = git(*words, at=path).split("\0")
    for facts, name in zip(fields[::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _ = facts.lstrip(":").split(" ")
        if _SUBMODULE not in (old_mode, new_mode):
            yield _File(name, (old_mode, new_mode), (old, new))


def _put_back(git: Git, path: Path, files: list[_File]) -> None:
    held = _held(git, path, files)
    strange = [file.name for file in files if not _is_of_the_move(git, path, file, held)]
    if strange:
        raise ConflictError(
            "an update was cut off here, and files were changed since",
            received=", ".join(strange[:20]) + (" ..." if len(strange) > 20 else ""),
            next_step="save what you need of them, then run this again with --force",
        )
    added = [file.name for file in files if file.blobs[0] == _ABSENT]
    _over(git, path, [f.name for f in files if f.blobs[0] != _ABSENT], "checkout", "HEAD")
    _over(git, path, added, "rm", "--force", "--quiet", "--ignore-unmatch", "--cached")
    for name in added:
        with suppress(FileNotFoundError, NotADirectoryError):
            (path / name).unlink()


def _over(git: Git, path: Path, names: list[str], *words: str) -> None:
    """Run `git words` over these files, however many."""
    if names:
        listed = "\0".join(names).encode("utf-8", "surrogateescape")
        options = ("--pathspec-from-file=-", "--pathspec-file-nul")
        git("--literal-pathspecs", *words, *options, at=path, given=listed)


def _held(git: Git, path: Path, files: list[_File]) -> dict[str, str]:
    """The blob names of what the regular files hold now, after git's filters."""
    places = ((file.name, path / file.name) for file in files)
    names = [name for name, place in places if place.is_file() and not place.is_symlink()]
    names = [name for name in names if "\n" not in name]  # cannot be said on a line
    listed = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
    blobs = git("hash-object", "--stdin-paths", at=path, given=listed).splitlines()
    return dict(zip(names, blobs, strict=True))


def _is_of_the_move(git: Git, path: Path, file: _File, held: dict[str, str]) -> bool:
    """Whether the file holds what either commit has, the beginning of it, or is not there."""
    place = path / file.name
    if place.is_symlink():
        return _LINK in file.modes
    if not place.is_file():
        return True  # absent, or a folder where the other commit has a file
    if held.get(file.name) in file.blobs:
        return True
    content = place.read_bytes()
    blobs = (blob for blob in file.blobs if blob != _ABSENT)
    return any(_blob(git, path, blob).startswith(content) for blob in blobs)


def _blob(git: Git, path: Path, name: str) -> bytes:
    return git("cat-file", "blob", name, at=path).encode("utf-8", "surrogateescape")
