"""What update_coverage did, for a person and for a program."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.errors import EXIT_FAILED, EXIT_OK
from kernelkit.inventory.coverage.checks import Finding


@dataclass(frozen=True)
class Result:
    """What was found, and the document before and after."""

    models: tuple[str, ...]
    findings: tuple[Finding, ...]
    before: str
    after: str
    wrote: Path | None
    checked: bool

    @property
    def exit_code(self) -> int:
        """1 where a check found something."""
        return EXIT_FAILED if self.checked and self.findings else EXIT_OK

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "models": list(self.models),
            "changed": self.before != self.after,
            "wrote": self.wrote and str(self.wrote),
            "findings": [finding.as_json() for finding in self.findings],
        }

    def as_text(self) -> str:
        """The diff (of a dry run), the findings, and one closing line."""
        lines = [] if self.wrote or self.checked else list(_diff(self.before, self.after))
        lines += [f"{f.line or '-':>5}  {f.kind:<12} {f.model}: {f.message}" for f in self.findings]
        what = "contradictions" if self.checked else "contradictions left"
        done = f"wrote {self.wrote}; " if self.wrote else ""
        if not self.checked and self.before == self.after:
            done = "nothing to change; "
        return "\n".join([*lines, f"{done}{len(self.findings)} {what}"])


def _diff(before: str, after: str) -> Iterator[str]:
    names = "before", "after"
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=0)
    return iter(lines)
