"""The examination as text and as a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from kernelkit.machine.examine import Examination
from kernelkit.machine.facts import ABSENT, OK, Fact
from kernelkit.machine.verdicts import NOT, PARTLY, Verdict


def to_document(found: Examination) -> dict[str, Any]:
    """The JSON form."""
    return {
        "facts": {name: fact.to_json() for name, fact in found.facts.items()},
        "conflicts": found.conflicts,
        "scripts": {verdict.name: verdict.to_json() for verdict in found.scripts},
        "skills": {verdict.name: verdict.to_json() for verdict in found.skills},
        "repairs": [repair.to_json() for repair in found.repairs],
    }


def to_text(found: Examination) -> str:
    """Facts by group, contradictions, scripts, skills, and one command for each repair."""
    lines: list[str] = []
    for group, facts in groupby(found.facts.values(), key=lambda fact: fact.group):
        lines += [f"{group}:", *(_fact(fact) for fact in facts), ""]
    if found.conflicts:
        lines += ["does not go together:", *(f"  {text}" for text in found.conflicts), ""]
    lines += ["scripts:", *_verdicts(found.scripts)]
    if found.skills:
        lines += ["", "skills:", *_verdicts(found.skills)]
    if found.repairs:
        lines += ["", "repairs:"]
        for repair in found.repairs:
            lines.append(f"  {repair.name:<18} {repair.command}")
            lines.append(f"  {'':<18} for {_few(repair.serves)}")
    return "\n".join(lines)


def _fact(fact: Fact) -> str:
    shown = fact.version if fact.state == OK else fact.state
    if fact.state != OK and fact.version and fact.state != ABSENT:
        shown = f"{fact.version} {fact.state}"
    return f"  {fact.name:<24} {shown:<20} {fact.detail}".rstrip()


def _verdicts(verdicts: Sequence[Verdict]) -> Iterable[str]:
    for verdict in verdicts:
        yield f"  {verdict.name:<28} {verdict.state:<14}{_why(verdict)}".rstrip()


def _why(verdict: Verdict) -> str:
    if verdict.state == NOT:
        return f"needs {', '.join(verdict.missing)}"
    if verdict.state != PARTLY:
        return ""
    lacking = [*verdict.missing, *(f"{p} ({', '.join(n)})" for p, n in verdict.parts.items())]
    return f"not: {_few(lacking)}"


def _few(items: Sequence[str], count: int = 4) -> str:
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more
