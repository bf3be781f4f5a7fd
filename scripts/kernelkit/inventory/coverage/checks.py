"""Where the coverage document contradicts the dataset's files, or itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kernelkit.inventory.coverage import expected
from kernelkit.inventory.coverage.expected import Holdings
from kernelkit.inventory.coverage.lines import SUMMARY, Document, Section
from kernelkit.inventory.coverage.reading import (
    Block,
    Entry,
    blocks_of,
    marks_of,
    summary_rows,
)
from kernelkit.inventory.coverage.titles import keys_of


@dataclass(frozen=True)
class Finding:
    """One contradiction. `line` counts from 1; 0 where something is missing altogether."""

    line: int
    kind: str
    model: str
    message: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def check_files(document: Document, holdings: Holdings) -> Iterator[Finding]:
    """What needs no config: marks against files, counts against tables, summary against both."""
    listed: set[str] = set()
    sections = [s for s in document.sections() if s.title != SUMMARY]
    for section in sections:
        blocks = blocks_of(document, section)
        listed |= {entry.name for block in blocks for entry in block.entries if entry.name}
        yield from check_section_files(document, section, holdings)
    yield from _summary_matches_sections(document, sections)
    for name in sorted(set(holdings.op_types) - listed):
        yield Finding(0, "untracked", "", f"{name} is in the dataset and in no row")


def check_section_files(
    document: Document, section: Section, holdings: Holdings
) -> Iterator[Finding]:
    """One section's marks and counts, and its line of the summary."""
    blocks = blocks_of(document, section)
    for block in blocks:
        for entry in block.entries:
            yield from _entry_against_files(entry, section.title, holdings)
        yield from _counts(block, section.title)
        yield from _duplicates(block, section.title)
    yield from _summary_label(document, section, blocks)


def _entry_against_files(entry: Entry, model: str, holdings: Holdings) -> Iterator[Finding]:
    at = entry.line + 1
    if entry.mark is None:
        allowed = " ".join(expected.MARKS)
        yield Finding(at, "mark", model, f"no known mark: {entry.status_cell!r} (of {allowed})")
    if entry.name is None:
        return
    if re.search(r"[?{}]", entry.name):
        yield Finding(at, "placeholder", model, f"{entry.name} is no name")
        return
    held = holdings.mark(entry.name)
    if entry.mark and entry.mark != held:
        kind, what = _MARK_FINDINGS[held, entry.mark == expected.UNMAPPED]
        yield Finding(at, kind, model, f"{entry.name} is marked {entry.mark}, but {what}")
    folder = holdings.op_types.get(entry.name)
    if folder and entry.op_type and entry.op_type != folder:
        text = f"{entry.name} is listed as {entry.op_type}, its folder is {folder}"
        yield Finding(at, "op type", model, text)


_MARK_FINDINGS = {
    (expected.MISSING, False): ("absent", "the dataset has no such file"),
    (expected.MISSING, True): ("absent", "it is a definition's name and the file is missing"),
    (expected.DEFINED, False): ("mark", "its definition exists, without workloads"),
    (expected.DEFINED, True): ("mark", "its definition exists, without workloads"),
    (expected.COLLECTED, False): ("mark", "its definition exists, with workloads"),
    (expected.COLLECTED, True): ("mark", "its definition exists, with workloads"),
}


def _counts(block: Block, model: str) -> Iterator[Finding]:
    claim = block.claim
    if claim is None:
        yield Finding(block.table.header + 1, "count", model, "no line **Coverage**: N / M")
        return
    present, total = expected.tally([e.mark for e in block.entries if e.mark])
    if (claim.present, claim.total) != (present, total):
        said = " / ".join("?" if n is None else str(n) for n in (claim.present, claim.total))
        text = f"the line says {said}, the table has {present} / {total}"
        yield Finding(claim.line + 1, "count", model, text)


def _duplicates(block: Block, model: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for entry in block.entries:
        if entry.name in seen:
            yield Finding(entry.line + 1, "duplicate", model, f"{entry.name} is listed twice")
        seen |= {entry.name} if entry.name else set()


def _summary_label(
    document: Document, section: Section, blocks: Sequence[Block]
) -> Iterator[Finding]:
    want = expected.coverage(marks_of(list(blocks)))
    for row in summary_rows(document):
        if keys_of(row.model) & keys_of(section.title) and row.coverage != want:
            text = f"the summary says {row.coverage!r}, the section's table {want!r}"
            yield Finding(row.line + 1, "summary", section.title, text)


def _summary_matches_sections(document: Document, sections: Sequence[Section]) -> Iterator[Finding]:
    rows = summary_rows(document)
    for row in rows:
        if not any(keys_of(row.model) & keys_of(s.title) for s in sections):
            yield Finding(row.line + 1, "summary", row.model, "in the summary, without a section")
    for section in sections:
        if not any(keys_of(row.model) & keys_of(section.title) for row in rows):
            text = "has a section and no line in the summary"
            yield Finding(section.start + 1, "summary", section.title, text)
