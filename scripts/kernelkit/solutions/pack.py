"""Pack a folder of source files into Solution JSON.

The folder holds the sources and `solution.json`, in one of two forms:

metadata   a Solution without the contents of its files: name, definition, author, description,
           spec, and any further key. `sources` may list paths (or objects with a `path` and
           further keys); these are packed first, in that order, then all other files by name.
patterns   one folder for many definitions:
    name              of the solution; {definition} stands for the definition's name
    definitions       patterns (shell style) of the definitions that it serves
    description       one sentence
    language, target_hardware, entry_point, dependencies, destination_passing_style, binding, author
                      as in the format; see DEFAULTS

In the second form, what a definition fixes (a const axis, an epsilon) is set in the sources'
top-level constant of that name in capitals, so that one folder serves definitions that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.errors import FormatError, UsageError
from kernelkit.solutions.constants import fill, values_of
from kernelkit.solutions.documents import Document, check_entry, parse, read_object
from kernelkit.solutions.folder import MANIFEST, as_folder, read_source, source_paths

DEFAULTS: dict[str, Any] = {
    "author": "kernelkit",
    "language": "python",
    "target_hardware": ["cpu", "cuda"],
    "entry_point": "main.py::run",
    "dependencies": [],
    "destination_passing_style": False,
    "binding": None,
}
_PATTERN_KEYS = {"name", "definitions", "description", *DEFAULTS}


def folders(source: Path) -> list[Path]:
    """The solution folders in `source`: itself, or those below it. Raises UsageError."""
    found = sorted(path.parent for path in as_folder(source).rglob(MANIFEST))
    if not found:
        raise UsageError(f"no {MANIFEST} in the folder", received=source)
    return [source] if source in found else found


def pack(folder: Path, definitions: Iterable[Definition]) -> Iterator[tuple[Definition, Solution]]:
    """The folder's solution for each definition that it names. Raises as `documents_for`."""
    for definition, document in documents_for(folder, definitions):
        yield definition, parse(document, folder)


def documents_for(
    folder: Path, definitions: Iterable[Definition]
) -> Iterator[tuple[Definition, Document]]:
    """The folder's Solution document for each definition that it names, by name or by pattern.

    Raises FormatError for a manifest or sources that make no sound Solution.
    """
    manifest = read_manifest(folder)
    if "spec" in manifest:
        document = pack_folder(folder, manifest)
        yield from ((d, document) for d in definitions if d.name == document["definition"])
        return
    texts = {path: read_source(folder, path) for path in source_paths(folder)}
    for definition in definitions:
        if any(fnmatchcase(definition.name, pattern) for pattern in manifest["definitions"]):
            yield definition, _for_definition(folder, manifest, texts, definition)


def pack_source(source: Path) -> Document:
    """The document of a folder, or of a template's JSON. Raises as `pack_folder`."""
    if source.is_dir():
        return pack_folder(source)
    from kernelkit.solutions.templates import Template

    document = Template.read(source).document()
    check_entry(parse(document, source), source)
    return document


def pack_folder(folder: Path, manifest: Document | None = None) -> Document:
    """The document of a folder in the metadata form, checked.

    Raises FormatError for a manifest or sources that make no sound Solution, UsageError for a
    folder of the other form.
    """
    document = assemble(folder, manifest)
    check_entry(parse(document, folder), folder)
    return document


def assemble(folder: Path, manifest: Document | None = None) -> Document:
    """Manifest and sources as one document, its entry point unchecked. Raises as `pack_folder`."""
    manifest = read_manifest(folder) if manifest is None else manifest
    if "spec" not in manifest:
        raise UsageError(
            "the folder serves definitions by pattern", received=folder,
            next_step="pack it with --dataset DIR",
        )  # fmt: skip
    listed = _listed(folder, manifest)
    paths = [entry["path"] for entry in listed]
    normal = {Path(path) for path in paths}
    listed += [{"path": p} for p in source_paths(folder) if Path(p) not in normal]
    sources = [_with_content(folder, entry) for entry in listed]
    return {**manifest, "sources": sources}


def read_manifest(folder: Path) -> Document:
    """The folder's solution.json, of either form. Raises UsageError, FormatError."""
    path = as_folder(folder) / MANIFEST
    found = read_object(path)
    if "spec" in found:
        return found
    if not {"name", "definitions"} <= found.keys():
        raise FormatError(
            f"{path}: needs the keys name and definitions, or those of a Solution with its spec"
        )
    if unknown := found.keys() - _PATTERN_KEYS:
        raise FormatError(f"{path}: unknown keys", received=", ".join(sorted(unknown)))
    patterns = found["definitions"]
    if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
        raise FormatError(f"{path}: definitions must be a list of patterns", received=patterns)
    if not isinstance(found["name"], str):
        raise FormatError(f"{path}: name must be text", received=found["name"])
    return {**DEFAULTS, **found}


def _listed(folder: Path, manifest: Document) -> list[Document]:
    """The manifest's own list of sources, each as an object with a path. Raises FormatError."""
    entries = manifest.get("sources", [])
    if isinstance(entries, list):
        entries = [{"path": entry} if isinstance(entry, str) else entry for entry in entries]
        if all(isinstance(e, dict) and isinstance(e.get("path"), str) for e in entries):
            return entries
    raise FormatError(f"{folder / MANIFEST}: sources must be a list of paths", received=entries)


def _with_content(folder: Path, entry: Document) -> Document:
    """The entry with its file's content behind the path, other keys where they were."""
    if "content" in entry:
        raise FormatError(
            f"{folder / MANIFEST}: a source has its content in the manifest",
            received=entry["path"], next_step="put it into the file",
        )  # fmt: skip
    rest = {key: value for key, value in entry.items() if key != "path"}
    return {"path": entry["path"], "content": read_source(folder, entry["path"]), **rest}


def _for_definition(
    folder: Path, manifest: Document, texts: dict[str, str], definition: Definition
) -> Document:
    values = values_of(definition)
    document = {
        "name": manifest["name"].replace("{definition}", definition.name),
        "definition": definition.name,
        "author": manifest["author"],
        "description": manifest.get("description"),
        "spec": {key: manifest[key] for key in DEFAULTS if key != "author"},
        "sources": [
            {"path": path, "content": fill(path, text, values)} for path, text in texts.items()
        ],
    }
    check_entry(parse(document, folder), folder)
    return document
