"""What differs between two Solution documents: fields by place, sources line by line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.errors import FormatError
from kernelkit.solutions.documents import Document, load, parse
from kernelkit.solutions.pack import assemble

ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """One field or source that differs; `lines` is a unified diff of a source's text."""

    place: str
    a: Any
    b: Any
    lines: tuple[str, ...] = ()


def load_either(path: Path) -> Document:
    """The document of a file or a folder. A default that is not written counts as written.

    Raises UsageError, FormatError.
    """
    document = assemble(path) if path.is_dir() else load(path)
    filled = parse(document, path).model_dump(mode="json")
    return {key: value for key, value in filled.items() if value is not None}


def differences(a: Document, b: Document) -> Iterator[Difference]:
    """All differences, fields first; documents as `load_either` gives them."""
    yield from _fields(_without_sources(a), _without_sources(b), "")
    one, two = _sources(a), _sources(b)
    for path in dict.fromkeys([*one, *two]):
        yield from _source(path, one.get(path), two.get(path))
    if one.keys() == two.keys() and list(one) != list(two):
        yield Difference("order of sources", list(one), list(two))


def as_text(found: list[Difference]) -> str:
    """For a person: one line a field, a diff for each source."""
    blocks = []
    for item in found:
        if item.lines:
            blocks.append("\n".join(item.lines))
        else:
            blocks.append(f"{item.place}: {_shown(item.a)} -> {_shown(item.b)}")
    return "\n".join(blocks)


def _fields(a: Any, b: Any, place: str) -> Iterator[Difference]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            inner = f"{place}.{key}" if place else key
            yield from _fields(a.get(key), b.get(key), inner)
    elif a != b or type(a) is not type(b):
        yield Difference(place, ABSENT if a is None else a, ABSENT if b is None else b)


def _source(path: str, a: Document | None, b: Document | None) -> Iterator[Difference]:
    if a is None or b is None:
        yield Difference(f"source {path}", *("present" if s else ABSENT for s in (a, b)))
        return
    extra = [{k: v for k, v in s.items() if k not in ("path", "content")} for s in (a, b)]
    yield from _fields(*extra, f"source {path}")
    if a["content"] != b["content"]:
        lines = _unified(path, a["content"], b["content"])
        yield Difference(f"source {path}", "content", "other content", lines)


def _unified(path: str, a: str, b: str) -> tuple[str, ...]:
    """A unified diff that also shows line ends and a missing last one."""
    one, two = a.splitlines(keepends=True), b.splitlines(keepends=True)
    found = difflib.unified_diff(one, two, f"a/{path}", f"b/{path}", n=2)
    return tuple(_visible(line) for line in found)


def _visible(line: str) -> str:
    if line.startswith(("---", "+++", "@@")) or line.endswith("\n") and not line.endswith("\r\n"):
        return line.rstrip("\n")
    return line.rstrip("\r\n") + (" \\r" if line.endswith("\r\n") else " (no newline at the end)")


def _without_sources(document: Document) -> Document:
    return {key: value for key, value in document.items() if key != "sources"}


def _sources(document: Document) -> dict[str, Document]:
    found = {source["path"]: source for source in document["sources"]}
    if len(found) < len(document["sources"]):
        raise FormatError("two sources have one path")
    return found


def _shown(value: Any) -> str:
    return value if value == ABSENT else json.dumps(value, ensure_ascii=False)
