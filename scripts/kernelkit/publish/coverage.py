"""The coverage document after one definition's pull request: its marks, and the counts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.dataset.store import Dataset
from kernelkit.errors import FormatError, KernelkitError
from kernelkit.inventory.coverage import session, writing
from kernelkit.inventory.coverage.expected import Holdings
from kernelkit.inventory.coverage.lines import SUMMARY, Document
from kernelkit.inventory.coverage.reading import blocks_of
from kernelkit.inventory.manifest import Manifest
from kernelkit.places import command

DOCUMENT = "docs/model_coverage.mdx"


@dataclass(frozen=True)
class _OnlyOne(Holdings):
    """The dataset's word on one definition; all others keep the mark that they have."""

    name: str = ""
    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, name: str) -> str:
        """The mark of a definition."""
        return super().mark(name) if name == self.name else self.marks.get(name, "")


@dataclass(frozen=True)
class Edited:
    """The document's new bytes, and the models whose tables list the definition."""

    content: bytes
    models: tuple[str, ...]


def edit(content: bytes, dataset: Dataset, name: str) -> Edited:
    """Set the definition's mark wherever it is listed, and the counts of those sections.

    No other definition's mark changes. Raises KernelkitError where no table lists it.
    """
    document = Document.of(content.decode("utf-8", "surrogateescape"))
    models = [s.title for s in document.sections() if s.title != SUMMARY]
    listing = [model for model in models if name in _marks(document, model)]
    if not listing:
        raise KernelkitError(
            "the coverage document does not list this definition", received=name,
            next_step="pass the model's config.json with --config FILE: its table is added "
            f"(or bring it in first: {command('update_coverage.py')} --config FILE)",
        )  # fmt: skip
    for model in listing:
        others = _OnlyOne(dataset, name, _marks(document, model))
        writing.refresh(document, model, others)
    return Edited(document.text.encode("utf-8", "surrogateescape"), tuple(listing))


def require(content: bytes, where: str) -> None:
    """Raises FormatError unless the bytes are a coverage document; `where` names them."""
    if Document.of(content.decode("utf-8", "surrogateescape")).section(SUMMARY) is None:
        raise FormatError(
            f"{where} is no coverage document", allowed=f"one with a section `## {SUMMARY}`",
            next_step="name another with --coverage-document, or bring this one in order: "
            f"{command('update_coverage.py')} --document FILE --create makes a new one",
        )  # fmt: skip


def lists(content: bytes, name: str) -> bool:
    """Whether a table of the document has a row for the definition."""
    document = Document.of(content.decode("utf-8", "surrogateescape"))
    return any(name in _marks(document, section.title) for section in document.sections())


def add_model(document: Path, dataset: Dataset, config: Path, manifest: Manifest | None) -> None:
    """Write the table of a model, or its lacking rows, into the document, in place.

    The serving configurations are the manifest's, else one rank. Raises KernelkitError where the
    document or the config cannot be read.
    """
    sizes = (manifest.serving if manifest else None) or []
    session.write(argparse.Namespace(
        document=document, dataset=dataset.root, config=config, hf_repo_id=None, configs=None,
        model_name=manifest.model_slug if manifest else None, refresh_status=False, section=None,
        revision=None, cookbook=None, prune=False, create=False, dry_run=False,
        tp_list=sorted({s.tp for s in sizes}) or None,
        ep_list=sorted({s.ep for s in sizes}) or None,
    ))  # fmt: skip


def _marks(document: Document, model: str) -> dict[str, str]:
    """The marks of a section by definition."""
    section = document.section(model)
    blocks = blocks_of(document, section) if section else []
    rows = (entry for block in blocks for entry in block.entries)
    return {row.name: row.mark for row in rows if row.name and row.mark}
