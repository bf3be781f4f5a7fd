"""Folders of source files: what belongs to a solution, read as text, without leaving the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from kernelkit.dataset.solution import content_fault, path_fault
from kernelkit.errors import FormatError, UsageError

MANIFEST = "solution.json"
NOTES = "README.md"  # for the person; packed only where the manifest lists it
MAX_BYTES = 32 * 2**20  # of one source; more is no source text


def source_paths(folder: Path) -> list[str]:
    """Every file that an unlisted pack takes, sorted: not the manifest, the README, hidden files
    and caches. Raises FormatError for a link to a folder, and for what is no regular file."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _skipped(name))
        for name in folders:
            if (Path(root) / name).is_symlink():
                raise FormatError(
                    "a linked folder cannot be packed", received=Path(root) / name,
                    next_step="copy its files here",
                )  # fmt: skip
        found += [Path(root) / name for name in files if not _skipped(name)]
    paths = (path.relative_to(folder).as_posix() for path in found)
    return sorted(path for path in paths if path not in (MANIFEST, NOTES))


def read_source(folder: Path, path: str) -> str:
    """The text of one source, byte for byte (line ends are kept).

    Raises FormatError for a path or a link that leaves the folder, what is no regular file, an
    empty file, and bytes that are not UTF-8 text.
    """
    if fault := path_fault(path):
        raise FormatError(f"source path {path!r} {fault}", received=folder)
    file = folder / path
    if not file.resolve().is_relative_to(folder.resolve()):
        raise FormatError("a link leaves the folder", received=file, next_step="copy the file here")
    if not file.is_file():
        what = "is no regular file" if file.exists() else "is absent"
        raise FormatError(f"a source file {what}", received=file)
    return _decode(file)


def _decode(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise FormatError("a source file is too large", received=file, allowed="32 MiB")
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise FormatError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FormatError("a source file is not UTF-8 text", received=file) from None
    if fault := content_fault(text):
        raise FormatError(f"a source file {fault}", received=file)
    if not text:
        raise FormatError(
            "a source file is empty, the format wants text", received=file,
            next_step="put a comment into it, or delete it (a package needs no __init__.py)",
        )  # fmt: skip
    return text


def target_files(folder: Path, paths: list[str]) -> Iterator[Path]:
    """Where the sources are to be written.

    Raises FormatError where an existing link or file on the way would lead elsewhere, or a folder
    stands where a file is wanted: nothing is ever written outside `folder`.
    """
    for path in paths:
        if fault := path_fault(path):
            raise FormatError(f"source path {path!r} {fault}")
        place = folder
        for part in PurePosixPath(path).parts[:-1]:
            place /= part
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise FormatError("a link or a file stands where a folder is", received=place)
        file = folder / path
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise FormatError("something else stands where a source is written", received=file)
        yield file


def as_folder(path: Path) -> Path:
    """The path, where it is a folder. Raises UsageError."""
    if not path.is_dir():
        raise UsageError("no such folder of solutions", received=path)
    return path


def _skipped(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith((".pyc", ".pyo"))
