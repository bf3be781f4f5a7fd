"""The one solution that a path names: a Solution file, or a folder of sources."""

from __future__ import annotations

from pathlib import Path

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError
from kernelkit.solutions import documents
from kernelkit.solutions.pack import pack


def read_solution(
    path: Path, dataset: Dataset, definition: str | None = None
) -> tuple[Definition, Solution]:
    """A Solution file, or a folder of sources with its solution.json, and its definition.

    Raises UsageError where there is none or (a folder that serves many) no single one; FormatError
    for a file that is no Solution.
    """
    if path.is_dir():
        known = [dataset.find_definition(definition)] if definition else None
        found = list(pack(path, known or dataset.definitions().values()))
        if len(found) != 1:
            names = ", ".join(sorted(chosen.name for chosen, _ in found)[:5])
            raise UsageError(
                f"the folder serves {len(found)} definitions of the dataset", received=path,
                allowed=names or "none", next_step="name one with --definition",
            )  # fmt: skip
        return found[0]
    solution = documents.parse(documents.load(path), path)
    if definition is not None and definition != solution.definition:
        raise UsageError(
            "the solution is for another definition", received=definition,
            allowed=solution.definition,
        )  # fmt: skip
    return dataset.find_definition(solution.definition), solution
