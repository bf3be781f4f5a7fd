"""The coverage document as lines: sections, tables and cells, edited byte by byte.

A line is kept as it was read, its ending and stray bytes included. An edit replaces the content of
one cell, or adds a line in the form of its neighbour; everything else stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.errors import FormatError, UsageError

SUMMARY = "Summary"
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_CELL = re.compile(r"(?:[^|\\]|\\.)*")
_DELIMITER = re.compile(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")


@dataclass
class Table:
    """A table: the line numbers (from 0) of its header and of its rows, and the header's cells."""

    header: int
    columns: list[str]
    rows: list[int]

    @property
    def end(self) -> int:
        """The line after the last row."""
        return (self.rows[-1] if self.rows else self.header + 1) + 1


@dataclass
class Section:
    """A `##` heading and the lines below it, to the next one (`stop` is not part of it)."""

    title: str
    start: int
    stop: int


@dataclass
class Document:
    """Lines with their endings. Line numbers count from 0; findings count from 1."""

    lines: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> Document:
        """The lines of a text, split at newlines only."""
        return cls(re.findall(r"[^\n]*\n|[^\n]+", text))

    @property
    def text(self) -> str:
        """The whole document."""
        return "".join(self.lines)

    @property
    def ending(self) -> str:
        """The line ending that the document uses."""
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"

    def content(self, number: int) -> str:
        """A line without its ending."""
        return self.lines[number].rstrip("\r\n")

    def outside_fences(self) -> Iterator[tuple[int, str]]:
        """Number and content of each line that stands in no code fence."""
        fence = ""
        for number in range(len(self.lines)):
            text = self.content(number)
            mark = _FENCE.match(text)
            if mark and (not fence or mark.group(1) == fence):
                fence = "" if fence else mark.group(1)
            elif not fence:
                yield number, text

    def sections(self) -> list[Section]:
        """The `##` sections, in order."""
        starts = [
            (number, match.group(2))
            for number, text in self.outside_fences()
            if (match := _HEADING.match(text)) and len(match.group(1)) <= 2
        ]
        ends = [number for number, _ in starts[1:]] + [len(self.lines)]
        return [
            Section(title, number, stop)
            for (number, title), stop in zip(starts, ends, strict=False)  # no heading: one end
            if self.lines[number].startswith("## ")
        ]

    def section(self, title: str) -> Section | None:
        """The section of that title, or None."""
        return next((s for s in self.sections() if s.title == title), None)

    def tables(self, section: Section, *columns: str) -> list[Table]:
        """The tables of a section whose header begins with `columns` (case does not matter)."""
        wanted = [name.lower() for name in columns]
        found = []
        for number in range(section.start + 1, section.stop - 1):
            if self._is_row(number) and _DELIMITER.match(self.content(number + 1)):
                names = [cell.lower() for cell in cells(self.content(number))]
                if names[: len(wanted)] == wanted:
                    found.append(self._table(number, section.stop))
        return found

    def _table(self, header: int, stop: int) -> Table:
        rows = []
        for number in range(header + 2, stop):
            if not self._is_row(number):
                break
            rows.append(number)
        return Table(header, cells(self.content(header)), rows)

    def _is_row(self, number: int) -> bool:
        return self.content(number).lstrip().startswith("|")

    def set_cell(self, number: int, index: int, value: str) -> None:
        """Replace the content of one cell; the blanks around it and all other cells stay."""
        text = self.content(number)
        start, stop = spans(text)[index]
        ending = self.lines[number][len(text) :]
        self.lines[number] = text[:start] + escaped(value) + text[stop:] + ending

    def insert(self, number: int, *texts: str) -> None:
        """Put lines before line `number`, in the document's line ending."""
        if number == len(self.lines) and self.lines and not self.lines[-1].endswith("\n"):
            self.lines[-1] += self.ending
        self.lines[number:number] = [text + self.ending for text in texts]


def spans(row: str) -> list[tuple[int, int]]:
    """Where the content of each cell of a row stands, without the blanks around it."""
    found = []
    position = row.index("|") + 1 if row.lstrip().startswith("|") else 0
    while position < len(row):
        match = _CELL.match(row, position)
        assert match is not None
        raw = match.group()
        if match.end() >= len(row) and not raw.strip():
            break
        lead = len(raw) - len(raw.lstrip())
        start = match.start() + (lead if raw.strip() else min(1, len(raw)))
        found.append((start, start + len(raw.strip())))
        position = match.end() + 1
    return found


def cells(row: str) -> list[str]:
    """The contents of a row's cells."""
    return [row[start:stop].replace("\\|", "|") for start, stop in spans(row)]


def escaped(value: str) -> str:
    """A cell's content with its pipes escaped."""
    return value.replace("|", "\\|")


def row_of(*values: str) -> str:
    """A table row."""
    return "| " + " | ".join(escaped(value) for value in values) + " |"


def read_document(path: Path) -> Document:
    """Read a coverage document. Raises UsageError where there is none, FormatError without the
    Summary section."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UsageError(
            f"the coverage document cannot be read: {error.strerror}",
            received=path,
            next_step="name one with --document, or make a new one with --create",
        ) from None
    document = Document.of(text)
    if document.section(SUMMARY) is None:
        raise FormatError(
            f"{path} is no coverage document",
            allowed=f"one with a section `## {SUMMARY}`",
            next_step="name another with --document, or make a new one with --create",
        )
    return document


def titles_of(document: Document) -> list[str]:
    """The models that the document tracks: section titles and the summary's first column."""
    found = [section.title for section in document.sections() if section.title != SUMMARY]
    summary = document.section(SUMMARY)
    for table in document.tables(summary, "Model") if summary else []:
        found += [cells(document.content(row))[0] for row in table.rows]
    return list(dict.fromkeys(found))
