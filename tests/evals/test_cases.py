"""The cases are well formed, realistic in number, and cannot be passed by doing nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from evaluating import checks
from evaluating.cases import ROOT, SKILLS, Case, cases, evals_file, queries, skill_names

NAMES = skill_names()
CASES = [case for name in NAMES for case in cases(name)]
KEYS = {"id", "prompt", "expected_output", "files", "setup", "assertions", "checks"}


def test_every_skill_has_evals() -> None:
    assert len(NAMES) >= 15
    assert sorted(path.parents[1].name for path in SKILLS.glob("*/evals/evals.json")) == NAMES
    assert sorted(path.parents[1].name for path in SKILLS.glob("*/evals/triggers.json")) == NAMES


@pytest.mark.parametrize("skill", NAMES)
def test_the_layout_is_that_of_the_convention(skill: str) -> None:
    document = json.loads(evals_file(skill).read_text(encoding="utf-8"))
    assert set(document) == {"skill_name", "evals"} and document["skill_name"] == skill
    assert len(document["evals"]) >= 3
    assert [entry["id"] for entry in document["evals"]] == list(
        range(1, len(document["evals"]) + 1)
    )
    for entry in document["evals"]:
        assert set(entry) == KEYS
        assert all(
            isinstance(entry[key], str) and entry[key] for key in ("prompt", "expected_output")
        )
        assert all(
            isinstance(text, str) for key in ("files", "setup", "assertions") for text in entry[key]
        )


def test_prompts_are_distinct_and_do_not_give_the_way_away() -> None:
    """A prompt is a user's: it names files and wishes, no script and no skill."""
    assert len({case.prompt for case in CASES}) == len(CASES)
    for case in CASES:
        assert len(case.prompt) >= 60, case.name
        assert not re.search(r"scripts/|\w+\.py\b(?<!128256\.py)", case.prompt), case.name
        assert f"/{case.skill}" not in case.prompt, case.name


def test_tasks_have_inputs() -> None:
    assert sum(bool(case.files) for case in CASES) >= 0.8 * len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_can_be_checked(case: Case) -> None:
    """Input files exist; each check has its keys, and its assertion is the check's sentence."""
    assert [str(source) for source in case.sources if not source.exists()] == []
    assert all(source.is_relative_to(ROOT) for source in case.sources)
    assert len(case.checks) >= 2
    for check in case.checks:
        kind = checks.KINDS[check["kind"]]
        assert kind.needed <= set(check) <= kind.allowed, check
        for key in ("matches", "lacks", "stdout"):
            re.compile(check.get(key, ""))
    assert list(case.assertions) == [checks.sentence(check) for check in case.checks], (
        "python tests/evals/run_evals.py --sync"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_assertion_holds_in_an_empty_folder(case: Case, tmp_path: Path) -> None:
    held = [checks.sentence(c) for c in case.checks if c["kind"] != "command"
            and checks.decide(c, checks.Outcome(tmp_path)) is None]  # fmt: skip
    assert held == []


def test_no_command_holds_in_an_empty_folder(tmp_path: Path) -> None:
    """Once each: a script takes its time to start."""
    commands = {json.dumps(c): c for case in CASES for c in case.checks if c["kind"] == "command"}
    assert len(commands) >= 5
    outcome = checks.Outcome(tmp_path)
    assert [c["run"] for c in commands.values() if checks.decide(c, outcome) is None] == []


@pytest.mark.parametrize("skill", NAMES)
def test_triggers_are_well_formed(skill: str) -> None:
    found = queries(skill)
    assert sum(query.should_trigger for query in found) >= 10
    assert sum(not query.should_trigger for query in found) >= 10
    for query in found:
        assert query.instead is None or (query.instead in NAMES and query.instead != skill)
        assert not (query.should_trigger and query.instead)


def test_queries_are_distinct_and_sound_like_people() -> None:
    """Some are long, some short, some carelessly typed; none names the skill as a command."""
    texts = [query.text for name in NAMES for query in queries(name)]
    assert len(set(texts)) == len(texts)
    assert sum(len(text) > 120 for text in texts) >= 20
    assert sum(len(text) < 40 for text in texts) >= 20
    assert sum(text[0].islower() for text in texts) >= 0.5 * len(texts)
    assert not any(f"/{name}" in text for text in texts for name in NAMES)
