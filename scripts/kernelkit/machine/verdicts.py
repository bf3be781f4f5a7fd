"""Which scripts and skills work with what is there, and what would repair the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.machine.facts import BROKEN, OK, UNKNOWN, Fact
from kernelkit.machine.needs import REPAIRS, SCRIPTS, Needs

WORKS, PARTLY, NOT = "works", "partly", "does not work"
_SCRIPT = re.compile(r"scripts/(\w+)\.py")


@dataclass(frozen=True)
class Verdict:
    """A script or a skill: whether it works, what it lacks, and which parts lack more."""

    name: str
    state: str
    missing: list[str] = field(default_factory=list)
    parts: dict[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"state": self.state, "missing": self.missing, "parts": self.parts}


def judge_script(name: str, needs: Needs, facts: Mapping[str, Fact]) -> Verdict:
    """Hold a script's needs against the facts."""
    missing = _lacking(needs.always, facts)
    parts = {part: lack for part, wants in needs.parts.items() if (lack := _lacking(wants, facts))}
    state = NOT if missing else PARTLY if parts else WORKS
    return Verdict(name, state, missing, parts)


def judge_skill(name: str, scripts: Iterable[Verdict]) -> Verdict:
    """A skill works as far as the scripts of its playbook do."""
    scripts = list(scripts)
    missing = [
        f"{script.name} ({', '.join(script.missing)})" for script in scripts if script.missing
    ]
    parts = {f"{s.name} {part}": lack for s in scripts for part, lack in s.parts.items()}
    if scripts and len(missing) == len(scripts):
        return Verdict(name, NOT, missing, parts)
    return Verdict(name, PARTLY if missing or parts else WORKS, missing, parts)


def _lacking(wants: Sequence[str], facts: Mapping[str, Fact]) -> list[str]:
    """The wants for which no alternative is there. What cannot be known is taken to be there."""
    return [
        want
        for want in wants
        if not any(name in facts and facts[name].state in (OK, UNKNOWN) for name in want.split("|"))
    ]


def scripts_here(folder: Path) -> dict[str, Needs]:
    """The rows of the scripts that are in this checkout. A script without a row needs Python."""
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    return {name: SCRIPTS.get(name, Needs(("python",))) for name in names}


def skills_here(folder: Path) -> dict[str, list[str]]:
    """The skills of this checkout and the scripts that each playbook names."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*/SKILL.md")):
        text = file.read_text(encoding="utf-8", errors="replace")
        found[file.parent.name] = sorted(set(_SCRIPT.findall(text)))
    return found


@dataclass(frozen=True)
class Repair:
    """The command that brings a capability, and what it is for."""

    name: str
    command: str
    serves: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"name": self.name, "command": self.command, "serves": self.serves}


def repairs(facts: Mapping[str, Fact], scripts: Sequence[Verdict]) -> list[Repair]:
    """One repair for each thing that some script lacks, in the order of REPAIRS."""
    serves: dict[str, list[str]] = {}
    for script in scripts:
        for want in script.missing:
            serves.setdefault(want.split("|")[0], []).append(script.name)
        for part, lack in script.parts.items():
            for want in lack:
                serves.setdefault(want.split("|")[0], []).append(f"{script.name} {part}")
    if "gpu" in serves:
        serves.pop("torch_gpu", None)  # no build of torch helps where there is no GPU
    return [Repair(n, _command(n, facts), serves[n]) for n in REPAIRS if n in serves]


def _command(name: str, facts: Mapping[str, Fact]) -> str:
    """The command; for a package that is there but broken, one that replaces it."""
    command, fact = REPAIRS[name], facts.get(name)
    if fact is not None and fact.state == BROKEN and " install " in command and "pip" in command:
        return command.replace(" install ", " install --force-reinstall ")
    return command
