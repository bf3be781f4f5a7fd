"""Put an entry into models.ts: a new one after the last, an existing one's modules replaced.

Every byte outside is left as it is: comments, blank lines, line ends, other entries however they
are written. The result is parsed again and compared before anybody writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.errors import ConflictError, FormatError
from kernelkit.webmodel.entry import Entry
from kernelkit.webmodel.models_file import Held, ModelsFile
from kernelkit.webmodel.syntax import named
from kernelkit.webmodel.typescript import Style, entry_text, modules_text, new_file, text

if TYPE_CHECKING:
    from tree_sitter import Node

CREATED, INSERTED, REPLACED, UNCHANGED = "created", "inserted", "replaced", "unchanged"


@dataclass(frozen=True)
class Edit:
    """The new content of the file, and what was done: one of the four words above."""

    data: bytes
    action: str


def put(data: bytes | None, entry: Entry, name: str) -> Edit:
    """`entry` in a file that holds `data` (None: there is no file yet).

    Raises FormatError for a file that is no models.ts, ConflictError for an existing entry that
    cannot be replaced without guessing.
    """
    if data is None or not data.strip(b" \t\r\n\xef\xbb\xbf"):
        return Edit(new_file(entry).encode("utf-8"), CREATED)
    file = ModelsFile(data, name)
    held = file.entry(entry.id)
    changes = _inserted(file, entry) if held is None else _replaced(file, held, entry)
    if not changes:
        return Edit(data, UNCHANGED)
    edited = _applied(data, changes)
    _verify(file, edited, entry)
    return Edit(edited, INSERTED if held is None else REPLACED)


Change = tuple[int, int, str]  # from byte, to byte, new text


def _applied(data: bytes, changes: list[Change]) -> bytes:
    """From the end on; of two insertions at one place, the first listed stands first."""
    for start, end, replacement in reversed(sorted(changes, key=lambda change: change[0])):
        data = data[:start] + replacement.encode("utf-8") + data[end:]
    return data


def _inserted(file: ModelsFile, entry: Entry) -> list[Change]:
    """After the last element and what stands behind it on its line."""
    style = file.style()
    children = file.array.children
    elements = named(file.array)
    if not elements:
        at = children[-2].end_byte if len(children) > 2 else children[0].end_byte
        added = f"{style.newline}{style.indent}{entry_text(entry, style)},"
        return [(at, at, added + _line_end(file, at, style))]
    last = elements[-1]
    behind = [child for child in children if child.start_byte >= last.end_byte]
    comma = next((child for child in behind if child.type == ","), None)
    at = _after_line(behind, comma or last)
    added = f"{style.newline}{style.indent}{entry_text(entry, style)}"
    changes = [(at, at, added + ("," if comma else "") + _line_end(file, at, style))]
    return changes if comma else [(last.end_byte, last.end_byte, ","), *changes]


def _after_line(behind: list[Node], last: Node) -> int:
    """The end of `last`, or of the comments that follow it on its line."""
    end, row = last.end_byte, last.end_point[0]
    for child in behind:
        if child.type == "comment" and child.start_byte >= end and child.start_point[0] == row:
            end, row = child.end_byte, child.end_point[0]
    return end


def _line_end(file: ModelsFile, at: int, style: Style) -> str:
    """A line break before the closing bracket where it would stand on the entry's last line."""
    closing = file.array.children[-1].start_byte
    if b"\n" in file.data[at:closing]:
        return ""
    return style.newline + file.indent_of(file.array)


def _replaced(file: ModelsFile, held: Held, entry: Entry) -> list[Change]:
    """The members that differ. Members that the entry does not know stay."""
    wanted = entry.as_dict()
    style = _style_of(file, held)
    changes: list[Change] = []
    for key in ("name", "description", "modules"):
        member = held.member(key)
        if member is None:
            changes.append(_added_member(file, held, key, entry, style))
        elif held.literal(key) is None:
            raise ConflictError(
                f"{file.name}: {key} of {entry.id} is no literal, line {member.start_point[0] + 1}",
                next_step="replace the expression with a literal, or delete the entry",
            )
        elif not _same(held.literal(key), wanted[key]):
            changes.append((member.start_byte, member.end_byte, _member_text(key, entry, style)))
    return changes


def _same(held: object, wanted: object) -> bool:
    """Equal, in the order of the keys too: the page draws modules in it."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        return list(held) == list(wanted) and all(_same(held[key], wanted[key]) for key in held)
    return held == wanted


def _style_of(file: ModelsFile, held: Held) -> Style:
    """The file's style, with the indent of this entry."""
    style = file.style()
    return Style(file.indent_of(held.node), style.unit, style.quote, style.newline)


def _added_member(file: ModelsFile, held: Held, key: str, entry: Entry, style: Style) -> Change:
    """A member that the entry lacks, behind its first one. A spread might bring it unseen."""
    if held.is_spread():
        raise ConflictError(
            f"{file.name}: {entry.id} has no {key} in sight, but a spread or a computed key",
            received=f"line {held.node.start_point[0] + 1}",
            next_step="write the entry's members out, or delete the entry",
        )
    id_node = held.member("id")
    assert id_node is not None  # that is how it was found
    at = id_node.end_byte
    added = f",{style.newline}{style.indent}{style.unit}{key}: {_member_text(key, entry, style)}"
    return at, at, added


def _member_text(key: str, entry: Entry, style: Style) -> str:
    return modules_text(entry, style) if key == "modules" else text(getattr(entry, key), style)


def _verify(before: ModelsFile, data: bytes, entry: Entry) -> None:
    """The new text holds this entry, and all others as they were. Raises FormatError."""
    after = ModelsFile(data, before.name)
    held = after.entry(entry.id)
    wanted = entry.as_dict()
    others = [h.node.text for h in before.entries if h.id != entry.id]
    if others != [h.node.text for h in after.entries if h.id != entry.id]:
        raise FormatError(f"{before.name}: the edit would change other entries")
    found = {key: held.id if key == "id" else held.literal(key) for key in wanted} if held else {}
    if any(not _same(found.get(key), wanted[key]) for key in wanted):
        raise FormatError(f"{before.name}: the edit would not read back as the entry")
