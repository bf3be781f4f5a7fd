"""The cases of a skill, read from `.claude/skills/NAME/evals/`.

`evals.json` has the layout that tools for Agent Skills read: `skill_name` and `evals`, each with
`id`, `prompt`, `expected_output`, `files` (relative to the skill's folder) and `assertions`, which
are sentences. Two keys are ours: `setup`, shell lines that make what no file can bring (a dataset,
a checkout), and `checks`, one for each assertion, which a program decides. The sentences are made
from the checks (`run_evals.py --sync`), so that the two never say different things.

`triggers.json` is a list of `query` and `should_trigger`; a near miss may name the skill that it is
for (`instead`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SKILLS = ROOT / ".claude" / "skills"


@dataclass(frozen=True)
class Case:
    """One task for an agent, and how to see whether it was done."""

    skill: str
    id: int
    prompt: str
    expected_output: str
    files: tuple[str, ...]
    setup: tuple[str, ...]
    assertions: tuple[str, ...]
    checks: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """Skill and number, as `validate-dataset/2`."""
        return f"{self.skill}/{self.id}"

    @property
    def sources(self) -> list[Path]:
        """The input files and folders."""
        return [(SKILLS / self.skill / file).resolve() for file in self.files]


@dataclass(frozen=True)
class Query:
    """What a user may write, and whether the skill is meant."""

    skill: str
    text: str
    should_trigger: bool
    instead: str | None = None


def skill_names() -> list[str]:
    """The skills of the pack, by name."""
    return sorted(path.parent.name for path in SKILLS.glob("*/SKILL.md"))


def evals_file(skill: str) -> Path:
    """Where the cases of a skill are."""
    return SKILLS / skill / "evals" / "evals.json"


def cases(skill: str) -> list[Case]:
    """The cases of a skill. Raises KeyError where a key is absent, FileNotFoundError."""
    document = json.loads(evals_file(skill).read_text(encoding="utf-8"))
    return [
        Case(
            skill, entry["id"], entry["prompt"], entry["expected_output"], tuple(entry["files"]),
            tuple(entry.get("setup", ())), tuple(entry["assertions"]), tuple(entry["checks"]),
        )
        for entry in document["evals"]
    ]  # fmt: skip


def queries(skill: str) -> list[Query]:
    """The trigger queries of a skill, positive ones and near misses."""
    text = (SKILLS / skill / "evals" / "triggers.json").read_text(encoding="utf-8")
    return [
        Query(skill, entry["query"], entry["should_trigger"], entry.get("instead"))
        for entry in json.loads(text)
    ]
