"""The solution that is tuned: a template's pair or a folder, for one definition."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.dataset.atomic import write_text
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError
from kernelkit.solutions.constants import fill, values_of
from kernelkit.solutions.documents import read_object
from kernelkit.solutions.folder import read_source, source_paths
from kernelkit.solutions.tuning import table
from kernelkit.solutions.tuning.table import Parameters, Tables

MAIN = "main.py"


@dataclass
class Subject:
    """Sources as they are built, and the file that holds the tables."""

    main: Path
    sources: dict[str, str]
    spec: dict[str, Any]
    definition: Definition
    tables: Tables

    def write_variant(self, folder: Path, parameters: Parameters) -> None:
        """The sources with these parameters for every size."""
        text = table.with_rows(self.sources[MAIN], [{"up_to": None, **parameters}])
        for path, content in {**self.sources, MAIN: text}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")

    def keep(self, rows: list[Parameters]) -> bool:
        """Write the rows into the solution's own file; whether that changed it."""
        before = self.main.read_text(encoding="utf-8")
        after = table.with_rows(before, rows)
        if after != before:
            write_text(self.main, after)
        return after != before


def read(path: Path, dataset: Dataset, name: str | None) -> Subject:
    """The subject of a folder with solution.json, or of a template's JSON.

    Raises UsageError, FormatError, OSError-based errors of the readers.
    """
    folder = path if path.is_dir() else path.parent
    document = read_object(path / "solution.json" if path.is_dir() else path)
    listed = document.get("definition")
    if name is None and not isinstance(listed, str):
        raise UsageError("which definition?", received=str(path), next_step="add --definition NAME")
    definition = dataset.find_definition(name or listed)
    if path.is_dir():
        main = folder / MAIN
        sources = {p: read_source(folder, p) for p in source_paths(folder)}
        constants: dict[str, Any] = {}
    else:
        main, sources, constants = _of_template(path, definition)
    values = {**values_of(definition), **constants}
    sources = {p: fill(p, text, values) for p, text in sources.items()}
    tables = table.read(sources[MAIN], str(main))
    if tables.size not in definition.var_axes:
        raise UsageError(
            f"{main}: TUNING goes by an axis that {definition.name} has not",
            received=tables.size, allowed=", ".join(definition.var_axes),
        )  # fmt: skip
    return Subject(main, sources, document["spec"], definition, tables)


def _of_template(
    path: Path, definition: Definition
) -> tuple[Path, dict[str, str], dict[str, object]]:
    """main.py, the sources and the constants of a template for a definition."""
    from kernelkit.solutions.templates import Template

    template = Template.read(path)
    constants = template.constants_for(definition)
    if constants is None:
        raise UsageError(
            f"{path}: does not serve {definition.name}", allowed=", ".join(template.patterns)
        )
    main = path.with_name(f"{template.name}_{MAIN}")
    return main, {MAIN: template.main, **template.extra}, constants


def job(subject: Subject, folder: Path, axes: list[dict[str, int]], device: str) -> str:
    """What the process that builds a variant is told."""
    document = {"folder": str(folder), "spec": subject.spec, "axes": axes, "device": device,
                "definition": json.loads(subject.definition.model_dump_json())}  # fmt: skip
    return json.dumps(document)
