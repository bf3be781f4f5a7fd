"""Pack folders into a dataset: one Solution file for each definition that a folder serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.errors import ConflictError, KernelkitError, NothingSelectedError, UsageError
from kernelkit.solutions.documents import Document, parse, to_text
from kernelkit.solutions.pack import documents_for, folders, pack_source


@dataclass
class Packed:
    """What was packed: names of solutions, files written, and one error for each bad folder."""

    names: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    written: int = 0


def pack_into(dataset: Dataset, source: Path, names: Sequence[str] | None, dry_run: bool) -> Packed:
    """Write the solutions of every folder in `source`; a bad folder hides no other.

    Raises NothingSelectedError where no definition matches, ConflictError (and writes nothing)
    where two solutions would have one name, UsageError for an unknown definition or folder.
    """
    if names:
        definitions = [dataset.find_definition(name) for name in names]
    else:
        definitions = list(dataset.definitions().values())
    done, found = Packed(), []
    for folder in [source] if source.is_file() else folders(source):
        try:
            found += _of(folder, definitions)
        except KernelkitError as error:
            done.errors.append(str(error))
    if not found and not done.errors:
        raise NothingSelectedError("no definition of the dataset matches", received=source)
    places = _places(dataset, found)
    done.names = [document["name"] for _, document in found]
    if not dry_run:
        texts = (to_text(document) for _, document in found)
        done.written = sum(map(atomic.write_text, places, texts))
    return done


def _of(source: Path, definitions: Sequence[Definition]) -> list[tuple[Definition, Document]]:
    if source.is_dir():
        return list(documents_for(source, definitions))
    document = pack_source(source)
    return [(d, document) for d in definitions if d.name == document["definition"]]


def _places(dataset: Dataset, found: list[tuple[Definition, Document]]) -> list[Path]:
    """Where each solution stands. Raises ConflictError where a name is not its own."""
    counts = Counter(document["name"] for _, document in found)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ConflictError("two folders make a solution of one name", received=", ".join(twice))
    held = {s.value.name: s.path for s in dataset.load_solutions() if s.value is not None}
    places = []
    for definition, document in found:
        path = dataset.solution_path(parse(document, document["name"]), definition)
        if held.get(document["name"], path) != path:
            raise ConflictError(
                "the dataset holds another solution of this name",
                received=dataset.relative(held[document["name"]]),
                next_step="choose another name in solution.json",
            )
        places.append(path)
    return places


def write_file(path: Path, document: Document, source: Path, dry_run: bool) -> int:
    """Write the document of `source` to a file; 1 where that changed it. Raises UsageError."""
    if path.is_dir():
        raise UsageError("the output is a folder", received=path, allowed="-o FILE.json")
    if path.resolve().is_relative_to(source.resolve()):
        raise UsageError("the output stands in the folder, and would be packed", received=path)
    try:
        return int(not dry_run and atomic.write_text(path, to_text(document)))
    except OSError as error:
        raise UsageError("cannot be written", received=f"{path}: {error}") from None
