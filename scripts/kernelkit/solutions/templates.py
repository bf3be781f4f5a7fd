"""Templates of solutions: pairs `<name>_main.py` and `<name>.json`, see README.md beside them.

Each is a complete solution as it lies. Its JSON says which definitions it serves; several pairs may
form one template (the key `template`), of which the first that serves a definition is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from kernelkit import places
from kernelkit.dataset.definition import Definition
from kernelkit.errors import FormatError, UsageError
from kernelkit.solutions.documents import Document, read_object
from kernelkit.solutions.folder import read_source

FOLDER = places.SKILLS / "add-flashinfer-solution" / "templates"
MAIN = "main.py"
OWN_KEYS = ("serves", "inputs", "op_types", "files", "template", "reference")


@dataclass(frozen=True)
class Template:
    """One pair of files."""

    path: Path
    metadata: Document

    @classmethod
    def read(cls, path: Path) -> Template:
        """The template of a JSON file. Raises UsageError, FormatError."""
        metadata = read_object(path)
        lacking = {"name", "definition", "author", "spec", "serves", "op_types"} - metadata.keys()
        if lacking:
            raise FormatError(
                f"{path}: not a template: lacks {', '.join(sorted(lacking))}",
                next_step="to pack a folder, name the folder",
            )
        return cls(path, metadata)

    @property
    def name(self) -> str:
        """The pair's own name."""
        return self.path.stem

    @property
    def group(self) -> str:
        """The name under which it is asked for."""
        return self.metadata.get("template", self.name)

    @property
    def main(self) -> str:
        """The text of `<name>_main.py`."""
        return read_source(self.path.parent, f"{self.name}_{MAIN}")

    @property
    def extra(self) -> dict[str, str]:
        """Path and text of the extra source files."""
        return {p: read_source(self.path.parent, p) for p in self.metadata.get("files", [])}

    @property
    def from_reference(self) -> bool:
        """Whether any other definition gets its own reference."""
        return bool(self.metadata.get("reference"))

    @property
    def patterns(self) -> dict[str, Document]:
        """Patterns of definition names, each with the constants that it needs beside its axes."""
        entries = (e if isinstance(e, dict) else {"names": e} for e in self.metadata["serves"])
        return {entry["names"]: entry.get("constants", {}) for entry in entries}

    def constants_for(self, definition: Definition) -> Document | None:
        """The constants of the first pattern that fits; None where main.py is not right for it."""
        wanted = self.metadata.get("inputs", {})
        if any((name in definition.inputs) != there for name, there in wanted.items()):
            return None
        for pattern, constants in self.patterns.items():
            if fnmatchcase(definition.name, pattern):
                return constants
        return None

    def serves(self, definition: Definition) -> bool:
        """Whether the pair's own main.py is right for the definition."""
        return self.constants_for(definition) is not None

    def bare(self) -> Document:
        """The metadata of a Solution: without sources and without the template's own keys."""
        return {key: value for key, value in self.metadata.items() if key not in OWN_KEYS}

    def document(self) -> Document:
        """The Solution that the template is as it lies."""
        texts = {MAIN: self.main, **self.extra}
        return {**self.bare(), "sources": [{"path": p, "content": t} for p, t in texts.items()]}


def load_all(folder: Path = FOLDER) -> list[Template]:
    """Every template, by name. Raises FormatError for a JSON that is none."""
    return [Template.read(path) for path in sorted(folder.glob("*.json"))]


def choose(
    templates: Iterable[Template], name: str, definition: Definition
) -> tuple[Template, bool]:
    """The pair for a definition, and whether its own main.py serves it (else: the reference).

    Raises UsageError for an unknown template, or one that serves other definitions only.
    """
    templates = list(templates)
    pairs = [t for t in templates if name in (t.group, t.name)]
    if not pairs:
        known = ", ".join(dict.fromkeys(t.group for t in templates))
        raise UsageError("no such template", received=name, allowed=known)
    for template in pairs:
        if template.serves(definition):
            return template, True
    for template in pairs:
        if template.from_reference:
            return template, False
    raise UsageError(
        f"the template {name} does not serve {definition.name}",
        received=f"it serves {', '.join(p for t in pairs for p in t.patterns)}",
        allowed=", ".join(dict.fromkeys(t.group for t in serving(templates, definition))),
    )


def serving(templates: Iterable[Template], definition: Definition) -> list[Template]:
    """The pairs for a definition."""
    return [t for t in templates if t.serves(definition) or t.from_reference]


def row(template: Template) -> Document:
    """What `--list` shows of a pair."""
    others = ["every other definition, by its reference"] if template.from_reference else []
    return {
        "template": template.group,
        "pair": template.name,
        "language": template.metadata["spec"]["language"],
        "description": template.metadata.get("description", ""),
        "op_types": template.metadata["op_types"],
        "serves": [*template.patterns, *others],
        "target_hardware": template.metadata["spec"]["target_hardware"],
    }
