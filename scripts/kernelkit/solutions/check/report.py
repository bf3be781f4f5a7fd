"""Targets against their definitions: what was checked, what was found, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, Solution
from kernelkit.dataset.store import Dataset
from kernelkit.errors import NothingSelectedError
from kernelkit.solutions.check.codes import CODES, ERROR, NOTE, WARNING, Finding
from kernelkit.solutions.check.static import check_static, ordered
from kernelkit.solutions.check.target import Target


@dataclass
class Checked:
    """One solution against one definition; the definition is None where the file is too broken."""

    path: Path
    name: str
    definition: Definition | None
    spec: BuildSpec | None
    sources: dict[str, str]
    findings: list[Finding] = field(default_factory=list)

    def add(self, findings: Iterable[Finding]) -> None:
        """More findings; each once, errors first."""
        self.findings = ordered([*self.findings, *findings])

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "name": self.name,
            "definition": None if self.definition is None else self.definition.name,
            "file": str(self.path),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check_all(dataset: Dataset, targets: list[Target]) -> list[Checked]:
    """The static findings of every target for every definition that it serves.

    Raises NothingSelectedError where no sound target serves a definition of the dataset.
    """
    known = dataset.definitions()
    stored = [loaded.value for loaded in dataset.load_solutions() if loaded.value is not None]
    checked: list[Checked] = []
    unserved = []
    for target in targets:
        served = target.definitions(known)
        if not served and target.findings:
            checked.append(Checked(target.path, target.name, None, None, {}, target.findings))
        elif not served:
            unserved.append(f"{target.name} ({', '.join(target.patterns)})")
        checked += [_check_one(stored, target, definition) for definition in served]
    if unserved and not checked:
        raise NothingSelectedError(
            "the dataset has no definition for the solution", received="; ".join(unserved),
            next_step="derive or copy the definition into the dataset",
        )  # fmt: skip
    for name in unserved:
        found = [Finding("KS118", name.partition(" (")[0], name)]
        checked.append(Checked(Path(name), name, None, None, {}, found))
    return checked


def _check_one(stored: list[Solution], target: Target, definition: Definition) -> Checked:
    sources = target.sources_for(definition)
    one = Checked(target.path, target.name, definition, target.spec, sources)
    one.add(target.findings)
    if target.spec is not None:
        one.add(check_static(target.spec, definition, sources))
        one.add(_same_sources(stored, target.spec, definition, sources))
    return one


def _same_sources(
    stored: list[Solution], spec: BuildSpec, definition: Definition, sources: dict[str, str]
) -> Iterable[Finding]:
    """KS116."""
    for other in (solution for solution in stored if solution.definition == definition.name):
        held = {source.path: source.content for source in other.sources}
        passing = other.spec.destination_passing_style
        if held == sources and passing != spec.destination_passing_style:
            yield Finding("KS116", spec.entry_file, f"{other.name} has the same sources")


def counts(checked: list[Checked]) -> dict[str, int]:
    """How many solutions, errors, warnings and notes."""
    severities = [finding.severity for one in checked for finding in one.findings]
    return {
        "solutions": len(checked), "errors": severities.count(ERROR),
        "warnings": severities.count(WARNING), "notes": severities.count(NOTE),
    }  # fmt: skip


def to_text(checked: list[Checked]) -> str:
    """For the person: each solution with its findings, then the counts."""
    lines = []
    for one in checked:
        against = f" for {one.definition.name}" if one.definition else ""
        lines.append(f"{one.name}{against}")
        for finding in one.findings:
            code = CODES[finding.code]
            lines.append(f"  {finding.severity} {finding.code} {finding.place}: {code.meaning}")
            lines.append(f"      {finding.message}")
            lines.append(f"      fix: {finding.fix or code.fix}")
    held = counts(checked)
    lines.append(
        f"{held['solutions']} solutions: {held['errors']} errors, {held['warnings']} warnings, "
        f"{held['notes']} notes"
    )
    return "\n".join(lines)
