"""What the doctor says: causes with their evidence and change, or the facts where it has none."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Finding:
    """One cause. `explained` is the share of the wrong elements that it accounts for."""

    cause: str  # a short name in kebab case
    meaning: str
    evidence: list[str]
    change: str
    explained: float = 1.0
    certain: bool = True  # False: the pattern suggests it, no computation reproduces it
    also: list[str] = field(default_factory=list)  # causes that these inputs cannot tell from it


@dataclass
class Diagnosis:
    """Everything about one solution on one definition."""

    solution: str
    definition: str
    device: str
    findings: list[Finding] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    next_test: str = ""
    calls: dict[str, str] = field(default_factory=dict)  # "passed", or what is wrong with it
    notes: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)  # calls whose outputs were brought into form

    @property
    def faulty(self) -> bool:
        """Whether anything is wrong, named or not."""
        return bool(self.findings) or any(text != "passed" for text in self.calls.values())

    @property
    def verdict(self) -> str:
        """In a few words."""
        if not self.faulty:
            return "no fault found"
        return ", ".join(f.cause for f in self.findings) or "faulty, for no cause that is known"


def to_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """As JSON."""
    return {**asdict(diagnosis), "faulty": diagnosis.faulty, "verdict": diagnosis.verdict}


def to_text(diagnosis: Diagnosis) -> str:
    """For a person."""
    head = f"{diagnosis.solution} for {diagnosis.definition} on {diagnosis.device}"
    lines = [f"{head}: {diagnosis.verdict}"]
    for finding in diagnosis.findings:
        sure = "" if finding.certain else " (likely)"
        lines += [f"  cause     {finding.cause}{sure}: {finding.meaning}"]
        lines += [f"  {'evidence' if not i else '':<9} {e}" for i, e in enumerate(finding.evidence)]
        lines += [f"  change    {finding.change}"]
        if finding.also:
            lines += [f"  or        {', '.join(finding.also)}: the same on these inputs"]
    if diagnosis.facts:
        lines += ["  facts     " + "\n            ".join(diagnosis.facts)]
    if diagnosis.next_test:
        lines += [f"  next test {diagnosis.next_test}"]
    lines += [f"  {name:<14} {text}" for name, text in diagnosis.calls.items()]
    return "\n".join([*lines, *(f"  note: {note}" for note in diagnosis.notes)])
