"""Writes that are whole or not there: temporary file in the same folder, fsync, os.replace."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".kernelkit-tmp"  # a reader skips such files; a killed run may leave one


def write_bytes(path: Path, data: bytes) -> bool:
    """Write `data` to `path`. False, and no write, where the file already holds just that."""
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return False
    write_parts(path, [data])
    return True


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write what comes, part by part, to `path`: for what is larger than the memory should be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path) as (file, name):
        try:
            file.truncate()
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The temporary file of one target, locked until it is closed. What a killed run left there is
    written over, so that nothing piles up; of two writers the second waits, and opens what is there
    then. Where nothing can be locked, a file of our own."""
    name = f"{path}{TEMPORARY_SUFFIX}"
    while True:
        with open(name, "r+b", opener=_create) as file:
            locks = _lock(file.fileno())
            if locks and _is_at(name, file.fileno()):
                yield file, name
                return
        if not locks:
            break
    os.unlink(name)
    handle, name = tempfile.mkstemp(TEMPORARY_SUFFIX, path.name, path.parent)
    with os.fdopen(handle, "w+b") as file:
        yield file, name


def _create(name: str, flags: int) -> int:
    """Opens the file as it is, or makes it. A link is not followed: a stranger may have laid it."""
    return os.open(name, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False where the system or the disk has no locks."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            return False
        raise
    return True


def _is_at(name: str, descriptor: int) -> bool:
    """Whether an open file still has the name: another writer may have moved it in place."""
    try:
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def write_text(path: Path, text: str) -> bool:
    """Write UTF-8 `text` to `path`; see `write_bytes`."""
    return write_bytes(path, text.encode("utf-8"))


def append_lines(path: Path, lines: list[str]) -> None:
    """Append whole lines: the file is replaced by a longer one, under a lock on its folder.

    A plain append may be cut by a kill in the middle of a line. A last line without a newline
    (another program's) gets one first, so that it never swallows ours.
    """
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    added = "".join(line.rstrip("\n") + "\n" for line in lines).encode("utf-8")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with locked(folder):
            held = path.read_bytes() if path.is_file() else b""
            newline = b"" if not held or held.endswith(b"\n") else b"\n"
            write_bytes(path, held + newline + added)
    finally:
        os.close(folder)


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """An exclusive advisory lock on an open file or folder (POSIX; elsewhere no lock exists)."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable. Some file systems refuse to fsync a folder: then it is not."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
