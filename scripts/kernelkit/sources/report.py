"""The result of a run as text and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelkit.sources.config import FILE_NAME
from kernelkit.sources.outcome import FAILED, REFUSED, Outcome, Request

_SHOWN = 20  # lines of what would be lost; --json has all


def to_document(outcomes: Sequence[Outcome], request: Request) -> dict[str, Any]:
    """The JSON form."""
    return {
        "dry_run": request.dry_run,
        "target_dir": str(request.target.absolute()),
        "config": str((request.target / FILE_NAME).absolute()),
        "failed": [outcome.name for outcome in outcomes if outcome.failed],
        "repositories": [outcome.to_json() for outcome in outcomes],
    }


def to_text(outcomes: Sequence[Outcome], request: Request) -> str:
    """One line for each repository, then what it has to say."""
    lines = [line for outcome in outcomes for line in _lines(outcome)]
    failed = [outcome.name for outcome in outcomes if outcome.failed]
    if failed:
        lines.append(f"{len(failed)} of {len(outcomes)} not as asked for: {', '.join(failed)}")
    if not request.dry_run:
        lines.append(f"recorded in {request.target / FILE_NAME}")
    return "\n".join(lines)


def _lines(outcome: Outcome) -> list[str]:
    lines = [f"{outcome.name:<17} {outcome.action:<12} {_where(outcome)}".rstrip()]
    if outcome.error:
        lines.append(f"    error: {outcome.error}")
    if outcome.lost:
        words = "would be lost" if outcome.action in (FAILED, REFUSED) else "thrown away"
        words = "would be lost" if outcome.action.startswith("would") else words
        lines.append(f"    {words}:")
        lines += [f"      {line}" for line in outcome.lost[:_SHOWN]]
        if len(outcome.lost) > _SHOWN:
            lines.append(f"      and {len(outcome.lost) - _SHOWN} more (--json has all)")
    lines += [f"    {note}" for note in outcome.notes]
    if outcome.next_step:
        lines.append(f"    next: {outcome.next_step}")
    return lines


def _where(outcome: Outcome) -> str:
    if outcome.sha is None:
        return ""
    came_from = f"{outcome.before[:12]} -> " if outcome.before not in (None, outcome.sha) else ""
    return f"{came_from}{outcome.sha[:12]} {outcome.branch or '(detached)'}"
