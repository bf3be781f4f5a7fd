"""The edits that put one model's lines right; no other line changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kernelkit.inventory.coverage import expected, texts
from kernelkit.inventory.coverage.against_config import LAYERS, agrees, check_config
from kernelkit.inventory.coverage.checks import Finding
from kernelkit.inventory.coverage.expected import Derivable, Holdings, Row
from kernelkit.inventory.coverage.lines import Document, Section, row_of
from kernelkit.inventory.coverage.reading import (
    COUNT,
    Block,
    blocks_of,
    marks_of,
    summary_rows,
    summary_table,
)
from kernelkit.inventory.coverage.titles import keys_of
from kernelkit.models.spec import ModelSpec


@dataclass(frozen=True)
class Subject:
    """The model whose lines are written: its heading, its rows and what its config can give."""

    title: str
    rows: Sequence[Row]
    derivable: Derivable
    serving: str

    @property
    def spec(self) -> ModelSpec:
        """The architecture of the first of the models that the heading stands for."""
        return self.derivable.specs[0]


def write_model(
    document: Document, subject: Subject, holdings: Holdings, *, prune: bool = False
) -> None:
    """Make or mend the section and the summary's line of one model, in place.

    Rows that the config does not give are left (`prune`: taken out); what was written by hand
    around the table is left but for the counts.
    """
    section = document.section(subject.title)
    if section is None:
        texts.append_section(document, subject.title, subject.spec, subject.rows, subject.serving)
    else:
        if prune:
            _prune(document, section, subject)
        _add_rows(document, _again(document, section), subject.rows)
        _fix_layers(document, _again(document, section), subject.derivable.specs)
    refresh(document, subject.title, holdings)
    _summary_row(document, subject)


def refresh(document: Document, title: str, holdings: Holdings) -> None:
    """Marks, counts and the summary's cell of one section, from the dataset's files alone."""
    section = document.section(title)
    if section is None:
        return
    for block in blocks_of(document, section):
        for entry in block.entries:
            if entry.name and entry.mark:
                held = holdings.mark(entry.name)
                if held != entry.mark:
                    rest = entry.status_cell[len(entry.mark) :]
                    document.set_cell(entry.line, 2, held + (rest if held == "❌" else ""))
    for block in blocks_of(document, section):
        _count_line(document, block)
    want = expected.coverage(marks_of(blocks_of(document, section)))
    for row in summary_rows(document):
        if keys_of(row.model) & keys_of(title) and row.coverage != want:
            document.set_cell(row.line, 2, want)


def _again(document: Document, section: Section) -> Section:
    """The section with its line numbers of now."""
    found = document.section(section.title)
    assert found is not None
    return found


def _prune(document: Document, section: Section, subject: Subject) -> None:
    """Take out the rows that cannot follow from the config, and names that are none."""
    bad = _not_following(document, section, subject)
    bad |= {
        entry.line
        for block in blocks_of(document, section)
        for entry in block.entries
        if entry.name and re.search(r"[?{}]", entry.name)
    }
    for line in sorted(bad, reverse=True):
        del document.lines[line]


def _not_following(document: Document, section: Section, subject: Subject) -> set[int]:
    found: list[Finding] = list(check_config(document, section, (), subject.derivable))
    return {finding.line - 1 for finding in found if finding.kind == "sizes"}


def _add_rows(document: Document, section: Section, rows: Sequence[Row]) -> None:
    """Each row that is absent goes behind the last row of its op type, else to the end."""
    blocks = blocks_of(document, section)
    if not blocks:
        texts.add_table(document, section, rows)
        return
    listed = {e.name for block in blocks for e in block.entries if e.name}
    parts = {e.op_type for block in blocks for e in block.entries if e.name is None}
    for row in rows:
        if not (row.name in listed if row.name else row.op_type in parts):
            first = blocks_of(document, _again(document, section))[0]
            same = [e.line for e in first.entries if e.op_type == row.op_type]
            place = same[-1] + 1 if same else first.table.end
            document.insert(place, row_of(row.label, row.op_cell, row.mark))


def _fix_layers(document: Document, section: Section, specs: Sequence[ModelSpec]) -> None:
    """The count of layers in the architecture line, and nothing else of it."""
    counts = [spec.num_layers for spec in specs]
    for number in range(section.start, section.stop):
        line = document.lines[number]
        if line.startswith("**Architecture**"):
            match = LAYERS.search(line)
            if match and int(match.group()) not in counts:
                document.lines[number] = LAYERS.sub(str(counts[0]), line, count=1)
            return


def _count_line(document: Document, block: Block) -> None:
    """N / M of the coverage line; where they change, its own sentences on what is missing too."""
    claim = block.claim
    marks = [entry.mark for entry in block.entries if entry.mark]
    present, total = expected.tally(marks)
    if claim is None or (claim.present, claim.total) == (present, total):
        return
    line = document.lines[claim.line]
    text = document.content(claim.line)
    said = COUNT.match(text)
    assert said is not None
    kept = texts.other_sentences(text[said.end() :])
    missing = [(e.name, e.op_type) for e in block.entries if e.mark == expected.MISSING]
    parts = [
        f"{said.group(1)}{present}{said.group(3)}{total}{kept[0]}",
        texts.missing(missing, total),
    ]
    document.lines[claim.line] = " ".join(filter(None, [*parts, *kept[1:]])) + line[len(text) :]


def _summary_row(document: Document, subject: Subject) -> None:
    """The model's line of the summary: a new one at the end, or its cells mended."""
    section = document.section(subject.title)
    table = summary_table(document)
    if section is None or table is None:
        return
    for row in summary_rows(document):
        if keys_of(row.model) & keys_of(subject.title):
            if not any(agrees(row.architecture, spec) for spec in subject.derivable.specs):
                document.set_cell(row.line, 1, " + ".join(expected.components(subject.spec)))
            return
    label = expected.coverage(marks_of(blocks_of(document, section)))
    cells = subject.title, " + ".join(expected.components(subject.spec)), label
    document.insert(table.end, row_of(*cells))
