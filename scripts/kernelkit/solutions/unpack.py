"""Unpack Solution JSON into a folder from which `pack` makes the same document again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernelkit.dataset import atomic
from kernelkit.errors import ConflictError, FormatError, KernelkitError, UsageError
from kernelkit.solutions.documents import Document, to_text
from kernelkit.solutions.folder import MANIFEST, source_paths, target_files
from kernelkit.solutions.pack import assemble


@dataclass(frozen=True)
class Write:
    """A file to write, and what stands there now: None, True for the same, False for another."""

    path: Path
    text: str
    same: bool | None


def files_of(document: Document) -> dict[str, str]:
    """Path and text of every file of the folder, solution.json last.

    Raises FormatError where a source has the manifest's own name.
    """
    files = {source["path"]: source["content"] for source in document["sources"]}
    if any(Path(path).as_posix().casefold() == MANIFEST for path in files):
        raise FormatError(
            f"a source is named {MANIFEST}, the folder's own manifest", received=document["name"]
        )
    entries = []
    for source in document["sources"]:
        entry = {key: value for key, value in source.items() if key != "content"}
        entries.append(entry["path"] if len(entry) == 1 else entry)
    return {**files, MANIFEST: to_text({**document, "sources": entries})}


def plan_document(folder: Path, document: Document, *, force: bool) -> list[Write]:
    """What unpacking means: nothing where packing the folder gives this document already.

    Raises as `files_of` and `plan`.
    """
    try:
        if assemble(folder) == document:
            return []
    except KernelkitError:  # no folder, or one that makes no solution: `plan` says more
        pass
    return plan(folder, files_of(document), force=force)


def plan(folder: Path, files: dict[str, str], *, force: bool) -> list[Write]:
    """What writing `files` into `folder` means; nothing is written.

    Raises ConflictError where the folder holds other sources, or (without `force`) other contents;
    UsageError where it is a file; FormatError where a link on the way leads elsewhere.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("the target is a file", received=folder)
    if folder.is_dir():
        _refuse_strangers(folder, files)
    writes = []
    for path, text in zip(target_files(folder, list(files)), files.values(), strict=True):
        same = path.read_bytes() == text.encode("utf-8") if path.exists() else None
        writes.append(Write(path, text, same))
    if (changed := [w.path for w in writes if w.same is False]) and not force:
        raise ConflictError(
            "the folder holds another version", received=", ".join(map(str, changed)),
            next_step="see what differs: build_solution.py diff; --force overwrites",
        )  # fmt: skip
    return writes


def write(writes: list[Write]) -> int:
    """Write what is not there yet; returns the number of files. The manifest comes last.

    Raises UsageError where the system refuses.
    """
    try:
        return sum(atomic.write_text(item.path, item.text) for item in writes)
    except OSError as error:
        raise UsageError("cannot be written", received=f"{error.filename}: {error}") from None


def _refuse_strangers(folder: Path, files: dict[str, str]) -> None:
    ours = {Path(path) for path in files}
    strangers = [path for path in source_paths(folder) if Path(path) not in ours]
    if strangers:
        raise ConflictError(
            "the folder holds files of something else, which would be packed along",
            received=", ".join(strangers[:5]), next_step="move them away, or take a new folder",
        )  # fmt: skip
