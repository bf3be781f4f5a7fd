"""Two kinds of lock: a short one around one change of a file, and one held for a whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelkit.dataset import atomic
from kernelkit.errors import ConflictError, UsageError


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """An exclusive lock on a folder (made where absent), for as long as one file is rewritten.

    The folder is locked, not the file: an atomic write puts another file in its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with atomic.locked(descriptor):
            yield
    finally:
        os.close(descriptor)


@contextmanager
def rewriting(path: Path) -> Iterator[None]:
    """The lock under which `path` is read, changed and replaced.

    Raises UsageError where the file or its folder cannot be written.
    """
    try:
        with folder_lock(path.parent):
            yield
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}", received=error.filename
        ) from None


@contextmanager
def run_lock(manifest: Path) -> Iterator[None]:
    """Held by a run for as long as it works on a manifest; a second run is refused.

    The lock dies with its process, however that ends: a stale `.run-lock` file locks nothing.
    Raises ConflictError that names the process which holds it.
    """
    path = manifest.with_name(manifest.name + ".run-lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        _take(file.fileno(), path, manifest)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _take(descriptor: int, path: Path, manifest: Path) -> None:
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows has no advisory locks
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = path.read_text(encoding="utf-8").strip() or "unknown"
        raise ConflictError(
            "another run works on this manifest",
            received=manifest,
            allowed=f"one run at a time; held by process {holder}",
            next_step="wait for it to end",
        ) from None
