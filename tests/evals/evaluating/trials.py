"""One trial: a case, with or without the skill, by an agent; and all trials of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from evaluating import agent, checks
from evaluating.cases import Case
from evaluating.workspace import prepare

ANSWER_CHARACTERS = 4000


@dataclass(frozen=True)
class Finding:
    """An assertion, and why it does not hold (None where it does)."""

    assertion: str
    reason: str | None


@dataclass(frozen=True)
class Trial:
    """What one agent made of one case."""

    skill: str
    id: int
    mode: str
    attempt: int
    state: str
    seconds: float
    findings: list[Finding]
    answer: str

    @property
    def passed(self) -> int:
        """How many assertions hold."""
        return sum(finding.reason is None for finding in self.findings)

    @property
    def is_solved(self) -> bool:
        """Whether all assertions hold."""
        return self.passed == len(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "passed": self.passed, "of": len(self.findings)}


def judge(case: Case, outcome: checks.Outcome) -> list[Finding]:
    """Each assertion of the case, decided."""
    return [Finding(checks.sentence(check), checks.decide(check, outcome)) for check in case.checks]


def attempt(
    case: Case, mode: str, number: int, command: str, seconds: float, folder: Path, keep: bool
) -> Trial:
    """Prepare the folder, run the agent there, judge what it left. Raises SetupError."""
    place = folder / f"{case.skill}-{case.id}-{mode}-{number}"
    try:
        before = prepare(case, mode, place)
        ran = agent.run(command, case, place, seconds)
        findings = judge(case, checks.Outcome(place, ran.answer, before))
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
    answer = ran.answer[-ANSWER_CHARACTERS:]
    return Trial(case.skill, case.id, mode, number, ran.state, ran.seconds, findings, answer)


def run_all(
    cases: Sequence[Case],
    modes: Sequence[str],
    repeat: int,
    one: Callable[[Case, str, int], Trial],
    jobs: int,
) -> Iterator[Trial]:
    """All trials in the order of the cases, `jobs` of them at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        numbers = range(1, repeat + 1)
        waiting = [pool.submit(one, *what) for what in product(cases, modes, numbers)]
        try:
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()
            agent.end_all()
