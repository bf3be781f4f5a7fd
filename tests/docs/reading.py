"""Read documents: their lines, fences and running text, and the commands that they give."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TOP = ("README.md", "CLAUDE.md", "AGENTS.md", "CONTRIBUTING.md", "SECURITY.md")
FENCES = ("bash", "sh", "console")
_FENCE = re.compile(r"^```(\w*)(?: [\w./-]+)?\s*$")  # a word, and the path of a file that is shown


@dataclass(frozen=True)
class Command:
    """One command line of a document, joined over `\\` line ends."""

    line: int
    text: str


@dataclass(frozen=True)
class Document:
    """A Markdown file: its text, and where its relative links start."""

    path: Path
    text: str

    def place(self, line: int) -> str:
        """`file:line`, the file as the repository names it."""
        with contextlib.suppress(ValueError):
            return f"{self.path.relative_to(ROOT)}:{line}"
        return f"{self.path.name}:{line}"

    def lines(self) -> Iterator[tuple[int, str, str | None]]:
        """Each line with its number and the language of the fence that it stands in, if any."""
        language: str | None = None
        for number, line in enumerate(self.text.splitlines(), start=1):
            fence = _FENCE.match(line.strip())
            if fence:
                language = (fence.group(1) or "text") if language is None else None
                continue
            yield number, line, language

    def prose(self) -> Iterator[tuple[int, str]]:
        """The lines outside fences."""
        return ((number, line) for number, line, language in self.lines() if language is None)


def documents() -> list[Document]:
    """Every Markdown file that a person or an agent reads."""
    paths = [ROOT / name for name in _TOP]
    paths += sorted((ROOT / ".claude").rglob("*.md")) + sorted((ROOT / "templates").rglob("*.md"))
    return [Document(path, path.read_text(encoding="utf-8")) for path in paths]


def commands(document: Document) -> list[Command]:
    """The commands of the document's shell fences."""
    found: list[Command] = []
    pending: tuple[int, str] | None = None
    for number, line, language in document.lines():
        if language not in FENCES:
            continue
        text = line.strip().removeprefix("$ ")
        if not text or text.startswith("#"):
            continue
        start, joined = pending if pending else (number, "")
        joined = f"{joined} {text}".strip()
        if joined.endswith("\\"):
            pending = (start, joined[:-1].rstrip())
            continue
        pending = None
        found.append(Command(start, joined))
    return found


def split(command: str) -> list[list[str]]:
    """The simple commands of a line, cut at `&&`, `||`, `;` and `|`; redirections dropped."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    skip_next = False
    for word in lexer:
        if word in ("&&", "||", ";", "|"):
            parts.append([])
        elif word in (">", ">>", "<", "2>", "&>"):
            skip_next = True
        elif skip_next:
            skip_next = False
        else:
            parts[-1].append(word)
    return [_without_assignments(part) for part in parts if part]


def _without_assignments(words: list[str]) -> list[str]:
    while words and re.match(r"^[A-Za-z_]\w*=", words[0]):
        words = words[1:]
    return words
