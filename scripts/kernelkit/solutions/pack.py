"""Pack a folder of source files into Solution JSON, one for each definition that it serves.

The folder holds the sources and `solution.json`:

    name              of the solution; {definition} stands for the definition's name
    definitions       patterns (shell style) of the definitions that it serves
    description       one sentence
    language, target_hardware, entry_point, dependencies, destination_passing_style, binding, author
                      as in the format; see DEFAULTS

What a definition fixes beyond its signature (an epsilon) is set in the sources' top-level constant
of that name in capitals, so that one folder serves models that differ in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kernelkit import ops
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.errors import FormatError, UsageError

MANIFEST = "solution.json"
DEFAULTS: dict[str, Any] = {
    "author": "kernelkit",
    "language": "python",
    "target_hardware": ["cpu", "cuda"],
    "entry_point": "main.py::run",
    "dependencies": [],
    "destination_passing_style": False,
    "binding": None,
}
_SKIPPED = ("__pycache__", ".git")


def folders(source: Path) -> list[Path]:
    """The solution folders in `source`: itself, or those below it. Raises UsageError."""
    if not source.is_dir():
        raise UsageError("no such folder of solutions", received=source)
    found = sorted(path.parent for path in source.rglob(MANIFEST))
    if not found:
        raise UsageError(f"no {MANIFEST} in the folder", received=source)
    return found


def pack(folder: Path, definitions: Iterable[Definition]) -> Iterator[tuple[Definition, Solution]]:
    """The folder's solution for each definition that its patterns name.

    Raises FormatError for a manifest or sources that make no Solution.
    """
    manifest = _manifest(folder)
    sources = _sources(folder)
    for definition in definitions:
        if any(fnmatchcase(definition.name, pattern) for pattern in manifest["definitions"]):
            yield definition, _solution(folder, manifest, sources, definition)


def set_constants(text: str, values: dict[str, object]) -> str:
    """`text` with its top-level constants (NAME = literal, in capitals) set to `values`."""
    for name, value in values.items():
        if value is not None:
            pattern = rf"^{re.escape(name.upper())} = .*$"
            text = re.sub(pattern, f"{name.upper()} = {value!r}", text, flags=re.MULTILINE)
    return text


def _solution(
    folder: Path, manifest: dict[str, Any], sources: dict[str, str], definition: Definition
) -> Solution:
    fixed = ops.family(definition.op_type).semantics(definition)
    files = [{"path": p, "content": set_constants(text, fixed)} for p, text in sources.items()]
    keys = [key for key in DEFAULTS if key != "author"]
    try:
        return Solution.model_validate(
            {
                "name": manifest["name"].replace("{definition}", definition.name),
                "definition": definition.name,
                "author": manifest["author"],
                "description": manifest.get("description"),
                "spec": {key: manifest[key] for key in keys},
                "sources": files,
            }
        )
    except ValidationError as error:
        problems = "; ".join(item["msg"] for item in error.errors(include_url=False))
        raise FormatError(f"{folder}: not a solution: {problems}") from None


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: {error}") from None
    if not isinstance(found, dict) or not {"name", "definitions"} <= found.keys():
        raise FormatError(f"{path}: needs the keys name and definitions")
    if unknown := found.keys() - DEFAULTS.keys() - {"name", "definitions", "description"}:
        raise FormatError(f"{path}: unknown keys", received=", ".join(sorted(unknown)))
    return {**DEFAULTS, **found}


def _sources(folder: Path) -> dict[str, str]:
    """Every file but the manifest, by its path in the folder, sorted. Raises FormatError."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and path.name != MANIFEST and not set(inside.parts) & set(_SKIPPED):
            try:
                found[inside.as_posix()] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise FormatError("a source file is not UTF-8 text", received=path) from None
    return found
