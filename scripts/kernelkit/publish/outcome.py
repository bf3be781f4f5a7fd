"""What became of each definition, as the manifest, the terminal and a program are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kernelkit.errors import (
    EXIT_FAILED,
    EXIT_MISSING,
    EXIT_OK,
    KernelkitError,
    MissingDependencyError,
)
from kernelkit.publish.checklist import FAIL, Check

UNCHANGED, READY, INCOMPLETE, PUBLISHED, FAILED = (
    "unchanged", "ready", "incomplete", "published", "failed",
)  # fmt: skip


@dataclass
class Side:
    """One of the two pull requests. `files` are the paths that differ from the base."""

    repository: str
    branch: str
    base: str
    files: list[str] = field(default_factory=list)
    commit: str | None = None  # None in a dry run
    pushed: bool = False
    pr_url: str | None = None
    pr_number: int | None = None
    note: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass
class Outcome:
    """One definition."""

    name: str
    checks: list[Check] = field(default_factory=list)
    dataset: Side | None = None  # None: it changes nothing there
    coverage: Side | None = None
    texts: str | None = None  # the folder with the bodies and the script
    left_out: list[str] = field(default_factory=list)
    errors: list[KernelkitError] = field(default_factory=list)
    submitted: bool = False

    @property
    def sides(self) -> list[Side]:
        """The pull requests that there are."""
        return [side for side in (self.dataset, self.coverage) if side is not None]

    @property
    def status(self) -> str:
        """failed, unchanged, published, incomplete or ready."""
        if self.errors or any(check.result == FAIL for check in self.checks):
            return FAILED
        if not self.sides:
            return UNCHANGED
        if self.submitted:
            return PUBLISHED
        return READY if all(check.result == "pass" for check in self.checks) else INCOMPLETE

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; what the manifest keeps, too."""
        return {
            "status": self.status,
            "checklist": [check.as_json() for check in self.checks],
            "dataset": self.dataset and self.dataset.as_json(),
            "coverage": self.coverage and self.coverage.as_json(),
            "texts": self.texts,
            "left_out": self.left_out,
            "errors": [str(error) for error in self.errors],
        }


@dataclass(frozen=True)
class Result:
    """All definitions of a run, and those that were passed over with the reason."""

    outcomes: Sequence[Outcome]
    skipped: dict[str, str]
    dry_run: bool
    submit: bool

    @property
    def exit_code(self) -> int:
        """1 where something failed or was not fit to be submitted, 3 where only a login, a
        program or the network was lacking."""
        failed = [o for o in self.outcomes if o.status == FAILED]
        unfit = self.submit and any(o.status == INCOMPLETE for o in self.outcomes)
        if not failed and not unfit:
            return EXIT_OK
        lacking = [
            bool(o.errors) and all(isinstance(e, MissingDependencyError) for e in o.errors)
            and not any(check.result == FAIL for check in o.checks)
            for o in failed
        ]  # fmt: skip
        return EXIT_MISSING if failed and all(lacking) and not unfit else EXIT_FAILED

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "dry_run": self.dry_run,
            "submitted": self.submit,
            "definitions": {o.name: o.as_json() for o in self.outcomes},
            "skipped": self.skipped,
        }

    def as_text(self) -> str:
        """A block for each definition, and one closing line."""
        blocks = ["\n".join(_block(o, self.dry_run)) for o in self.outcomes]
        passed = (f"{name}: skipped, {reason}" for name, reason in self.skipped.items())
        blocks += ["\n".join(passed)] if self.skipped else []
        counts = {s: sum(o.status == s for o in self.outcomes)
                  for s in (PUBLISHED, READY, INCOMPLETE, UNCHANGED, FAILED)}  # fmt: skip
        said = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
        return "\n\n".join([*blocks, said + (" (dry run: nothing was made)" * self.dry_run)])


def _block(outcome: Outcome, dry_run: bool) -> list[str]:
    lines = [f"{outcome.name}: {outcome.status}"]
    lines += [f"  {c.result:<6} {c.name}: {c.text}" for c in outcome.checks]
    for side in outcome.sides:
        state = side.pr_url or ("pushed" if side.pushed else "would be made" if dry_run else "made")
        said = f", {side.note}" if side.note else ""
        count = "1 file" if len(side.files) == 1 else f"{len(side.files)} files"
        lines.append(f"  branch {side.branch} of {side.repository}: {count}, {state}{said}")
    if outcome.left_out:
        lines.append(f"  left out, by other authors: {', '.join(outcome.left_out)}")
    if outcome.texts and not outcome.submitted:
        lines.append(f"  texts and commands: {outcome.texts}")
    return lines + [f"  error: {error}" for error in outcome.errors]
