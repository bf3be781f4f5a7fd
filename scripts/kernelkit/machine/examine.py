"""Ask everything, in parallel, and judge."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from kernelkit import places
from kernelkit.machine import checkouts, hardware, packages, programs
from kernelkit.machine.conflicts import conflicts
from kernelkit.machine.facts import BROKEN, Fact
from kernelkit.machine.verdicts import (
    Repair,
    Verdict,
    judge_script,
    judge_skill,
    repairs,
    scripts_here,
    skills_here,
)

_AT_ONCE = 4  # imports compete for memory and disk


@dataclass(frozen=True)
class Examination:
    """What was found and what follows from it."""

    facts: dict[str, Fact]
    conflicts: list[str]
    scripts: list[Verdict]
    skills: list[Verdict]
    repairs: list[Repair]


def examine(target: Path, seconds: float) -> Examination:
    """Examine this machine. `target` holds the checkouts, `seconds` limits each import."""
    facts = facts_of(
        [
            *hardware.probes(target),
            *programs.probes(),
            *checkouts.probes(target),
            *packages.probes(seconds),
        ]
    )
    scripts = [judge_script(n, needs, facts) for n, needs in scripts_here(places.SCRIPTS).items()]
    by_name = {script.name: script for script in scripts}
    skills = [
        judge_skill(name, (by_name[script] for script in named if script in by_name))
        for name, named in skills_here(places.SKILLS).items()
    ]
    return Examination(facts, conflicts(facts), scripts, skills, repairs(facts, scripts))


def narrowed(found: Examination, wanted: Sequence[str]) -> Examination:
    """What concerns these scripts and skills, and the scripts that the skills name."""
    named = skills_here(places.SKILLS)
    kept = {*wanted, *(script for name in wanted for script in named.get(name, ()))}
    scripts = [verdict for verdict in found.scripts if verdict.name in kept]
    skills = [verdict for verdict in found.skills if verdict.name in wanted]
    return replace(found, scripts=scripts, skills=skills, repairs=repairs(found.facts, scripts))


def facts_of(probes: Sequence[tuple[str, Callable[[], list[Fact]]]]) -> dict[str, Fact]:
    """The facts of these probes by name, in their order. A probe that fails is a fact itself."""
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, os.cpu_count() or 1)) as pool:
        answers = list(pool.map(lambda probe: _asked(*probe), probes))
    return {fact.name: fact for answer in answers for fact in answer}


def _asked(name: str, probe: Callable[[], list[Fact]]) -> list[Fact]:
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 - a report of broken things must not break on one
        return [Fact("machine", name, BROKEN, detail=f"{type(error).__name__}: {error}"[:300])]
