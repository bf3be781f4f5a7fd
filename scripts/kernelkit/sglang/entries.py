"""Which file and class serve an architecture: the `EntryClass` of each model file."""

from __future__ import annotations

import ast
import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kernelkit.errors import NothingSelectedError
from kernelkit.models import architectures
from kernelkit.sglang.tree import SglangTree

_ENTRY = re.compile(r"^EntryClass\b[^=\n]*=", re.MULTILINE)


class NotInSglangError(NothingSelectedError):
    """This version of SGLang has no class for the architecture."""


@dataclass(frozen=True)
class Entry:
    """A model class that SGLang serves: its architecture name is its class name."""

    architecture: str
    path: Path


@lru_cache(maxsize=8)
def entries(tree: SglangTree) -> dict[str, Entry]:
    """Architecture -> Entry, of all model files (read, and parsed from `EntryClass` on only)."""
    found: dict[str, Entry] = {}
    for path in sorted(tree.models.glob("*.py")):
        for name in entry_classes(path.read_text(encoding="utf-8", errors="replace")):
            found.setdefault(name, Entry(name, path))
    return found


def entry_classes(text: str) -> list[str]:
    """The names that a model file's `EntryClass = ...` lists; [] without one."""
    names: list[str] = []
    for match in _ENTRY.finditer(text):
        statement = _statement(text[match.start() :])
        if statement is not None:
            names = [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return names


def _statement(text: str) -> ast.expr | None:
    """The value of the assignment that `text` begins with."""
    lines = text.splitlines()
    for count in range(1, min(len(lines), 80) + 1):
        try:
            node = ast.parse("\n".join(lines[:count])).body[0]
        except SyntaxError:
            continue
        return node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    return None


def entry_of(architecture: str, tree: SglangTree) -> Entry:
    """The entry of an architecture. Raises NotInSglangError where this version has none."""
    known = entries(tree)
    if architecture in known:
        return known[architecture]
    part = _plain(architecture)
    close = [name for name in known if part and part in _plain(name)][:6]
    close = close or difflib.get_close_matches(architecture, known, n=3, cutoff=0.6)
    raise NotInSglangError(
        f"SGLang {tree.version} has no class {architecture!r}",
        received=f"{len(known)} model classes in {tree.models}",
        allowed=f"the nearest are {', '.join(close)}" if close else "",
        next_step="take another SGLang version, or derive from the config alone "
        "(SGLang would fall back to TransformersForCausalLM)",
    )


def entry_named(name: str, tree: SglangTree) -> tuple[Entry, list[str]]:
    """The entry of a class name, a model file's name or a model's short name, and what to know.

    `qwen3_moe` is the file's class of that name; `kimi-k2` a model type; of `llama-3.1-8b` the
    words are dropped from the right until something matches. Raises NotInSglangError.
    """
    known = entries(tree)
    if name in known:
        return known[name], []
    words = re.split(r"[-_/. ]+", name.rsplit("/", 1)[-1].removesuffix(".py").lower())
    experts = any(re.fullmatch(r"a\d+b", word) for word in words)
    for count in range(len(words), 0, -1):
        kept = words[:count]
        for tried in ([*kept, "moe"], kept) if experts else (kept,):
            found = _matching("_".join(tried), known)
            if found:
                notes = [f"chosen by the name {name!r} alone; a config.json would say for sure"]
                others = ", ".join(e.architecture for e in found[1:])
                notes += [f"{found[0].path.name} also has {others}"] if others else []
                return found[0], notes if count < len(words) or others else []
    return entry_of(name, tree), []  # raises, and names the nearest


def _matching(name: str, known: dict[str, Entry]) -> list[Entry]:
    """Entries of a file, of a class without its ending, or of a model type; the namesake first."""
    plain = _plain(name)
    found = [e for e in known.values() if _plain(e.path.stem) == plain]
    found += [e for e in known.values() if _stem(e.architecture) == plain and e not in found]
    row = architectures.find(name)
    if not found and row is not None and row.name in known:
        found = [known[row.name]]
    return sorted(found, key=lambda e: _stem(e.architecture) != plain)


def _stem(architecture: str) -> str:
    return _plain(re.sub(r"For[A-Z]\w*$", "", architecture))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
