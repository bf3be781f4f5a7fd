"""A section as rows: which definition, which op type, which mark, and the counts it claims."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kernelkit.inventory.coverage.expected import MARKS
from kernelkit.inventory.coverage.lines import SUMMARY, Document, Section, Table, cells

COLUMNS = ("Definition", "Op Type", "Status")
COUNT = re.compile(r"^(\*\*Coverage\*\*:\s*)(\d+|\?)(\s*/\s*)(\d+|\?)")
_NAME = re.compile(r"^`([^`]+)`")


@dataclass(frozen=True)
class Entry:
    """One row of a model's table. `line` counts from 0."""

    line: int
    name: str | None  # None: a part in words
    op_type: str
    op_cell: str
    mark: str | None  # None: no known mark stands in the cell
    status_cell: str

    @property
    def label(self) -> dict[str, set[str]]:
        """The sizes that the op type cell names: `gqa TP=2` -> {"tp": {"2"}}."""
        found = re.findall(r"\b(TP|EP)=(\d+(?:/\d+)*)", self.op_cell)
        return {key.lower(): set(sizes.split("/")) for key, sizes in found}


@dataclass(frozen=True)
class Claim:
    """A `**Coverage**: N / M` line. A `?` is None."""

    line: int
    present: int | None
    total: int | None


@dataclass(frozen=True)
class Block:
    """A table of definitions and the coverage line that follows it, if there is one."""

    table: Table
    entries: list[Entry]
    claim: Claim | None


def blocks_of(document: Document, section: Section) -> list[Block]:
    """The definition tables of a section, each with its coverage line."""
    tables = document.tables(section, *COLUMNS)
    stops = [table.header for table in tables[1:]] + [section.stop]
    return [
        Block(table, _entries(document, table), _claim(document, table.end, stop))
        for table, stop in zip(tables, stops, strict=False)  # no table: one stop is left over
    ]


def _entries(document: Document, table: Table) -> list[Entry]:
    found = []
    for line in table.rows:
        row = [*cells(document.content(line)), "", "", ""]
        name = _NAME.match(row[0])
        word = re.match(r"[\w]+", row[1])
        mark = next((m for m in MARKS if row[2].startswith(m)), None)
        found.append(
            Entry(line, name and name.group(1), word.group() if word else "", row[1], mark, row[2])
        )
    return found


def _claim(document: Document, start: int, stop: int) -> Claim | None:
    for line in range(start, stop):
        if match := COUNT.match(document.content(line)):
            present, total = (None if n == "?" else int(n) for n in match.group(2, 4))
            return Claim(line, present, total)
    return None


@dataclass(frozen=True)
class SummaryRow:
    """One row of the summary. `line` counts from 0."""

    line: int
    model: str
    architecture: str
    coverage: str


def summary_table(document: Document) -> Table | None:
    """The summary's table, or None."""
    section = document.section(SUMMARY)
    tables = document.tables(section, "Model", "Architecture", "Coverage") if section else []
    return tables[0] if tables else None


def summary_rows(document: Document) -> list[SummaryRow]:
    """The rows of the summary."""
    table = summary_table(document)
    rows = []
    for line in table.rows if table else []:
        row = [*cells(document.content(line)), "", "", ""]
        rows.append(SummaryRow(line, *row[:3]))
    return rows


def marks_of(blocks: list[Block]) -> list[str]:
    """The marks of all rows of a section."""
    return [entry.mark for block in blocks for entry in block.entries if entry.mark]
