"""Reading and writing models.ts: one entry at a time, under a lock, whole or not at all."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from kernelkit.dataset import atomic
from kernelkit.errors import UsageError
from kernelkit.inventory.locks import folder_lock
from kernelkit.webmodel.edit import UNCHANGED, Edit, put
from kernelkit.webmodel.entry import Entry
from kernelkit.webmodel.generate import Generated, with_words
from kernelkit.webmodel.models_file import ModelsFile

DEFAULT_OUTPUT = Path("web") / "apps" / "web" / "data" / "models.ts"  # in flashinfer-bench


@dataclass(frozen=True)
class Words:
    """The name and description that were asked for; None: keep what the file has, else our own."""

    name: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What becomes of the file: the entry as it is (to be) written, the edit, a unified diff."""

    generated: Generated
    edit: Edit
    difference: str

    @property
    def up_to_date(self) -> bool:
        """Whether the file holds just this entry already."""
        return self.edit.action == UNCHANGED


def write(path: Path, generated: Generated, words: Words) -> Outcome:
    """Put the entry into the file. Two writers at once both keep their entries.

    Raises UsageError for a path that cannot be written, and what `edit.put` raises; then the file
    is as it was.
    """
    target = path.resolve()  # a link stays a link
    try:
        with folder_lock(target.parent):
            outcome = preview(target, generated, words, name=str(path))
            if not outcome.up_to_date:
                atomic.write_bytes(target, outcome.edit.data)
        return outcome
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}") from None


def preview(path: Path, generated: Generated, words: Words, *, name: str | None = None) -> Outcome:
    """What `write` would do."""
    name = name or str(path)
    if path.is_dir():
        raise UsageError("the output is a folder", received=name, allowed="a file, models.ts")
    held = path.read_bytes() if path.is_file() else None
    kept = _held_words(held, generated.entry, name)
    made = with_words(generated, words.name or kept.name, words.description or kept.description)
    edit = put(held, made.entry, name)
    return Outcome(made, edit, _difference(held or b"", edit.data, name))


def _held_words(data: bytes | None, entry: Entry, name: str) -> Words:
    """The name and description that the file's entry has: somebody may have written them."""
    if data is None or not data.strip(b" \t\r\n\xef\xbb\xbf"):
        return Words()
    held = ModelsFile(data, name).entry(entry.id)
    return Words(held.text("name"), held.text("description")) if held else Words()


def _difference(before: bytes, after: bytes, name: str) -> str:
    lines = [data.decode("utf-8").splitlines() for data in (before, after)]
    return "\n".join(difflib.unified_diff(*lines, f"{name} as it is", f"{name} to be", lineterm=""))
