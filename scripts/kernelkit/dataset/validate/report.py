"""What a validation gathers: findings, counts, and the definitions that load."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.validate.findings import ERROR, Finding


@dataclass
class Report:
    """What was looked at, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)  # of the definitions

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return len(self.findings) - self.errors

    def add(self, dataset: Dataset, path: Path, problems: Iterable[Problem],
            line: int | None = None) -> None:  # fmt: skip
        """Take the problems of one file.

        A check that fails on a file becomes a finding of that file: it hides no other file.
        """
        found: list[Problem] = []
        try:
            found.extend(problems)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            found.append(("P5", "", text, "mend the file, and report it: no file should do this"))
        if not found:
            return
        file = _printable(dataset.relative(path))
        for code, *rest in found:
            self.findings.append(Finding(code, file, *map(_printable, rest), line=line))


def _printable(text: str) -> str:
    """One line that every terminal and encoding takes."""
    plain = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return plain.encode("utf-8", "backslashreplace").decode()


def read_raw(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """A JSON file's object, or None where it holds none; and the keys that occur twice."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            keys = [key for key, _ in items]
            twice.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return made

    try:
        document = json.loads(path.read_bytes(), object_pairs_hook=pairs)
    except (OSError, ValueError, RecursionError):
        return None, []
    return (document if isinstance(document, dict) else None), twice
