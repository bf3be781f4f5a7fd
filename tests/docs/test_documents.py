"""Every document keeps its promises: commands parse, flags, paths, links and skills exist."""

from __future__ import annotations

import re
from pathlib import Path

import checker
import pytest
import reading

DOCUMENTS = reading.documents()
COMMAND_FLOOR = 20  # fewer would mean that the collector lost sight of the documents


def _names(document: reading.Document) -> str:
    return str(document.path.relative_to(checker.ROOT))


def _assert_none(problems: list[checker.Problem]) -> None:
    assert not problems, "\n" + "\n".join(f"{p.place}: {p.message}" for p in problems)


@pytest.mark.parametrize("document", DOCUMENTS, ids=_names)
def test_commands_parse(document: reading.Document) -> None:
    _assert_none(checker.find_bad_commands(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_names)
def test_words_paths_and_skills_exist(document: reading.Document) -> None:
    _assert_none(
        checker.find_unknown_flags(document)
        + checker.find_dead_paths(document)
        + checker.find_bad_words(document)
        + checker.find_unknown_skills(document, checker.skill_names())
    )


def test_enough_commands_are_checked() -> None:
    assert sum(len(reading.commands(document)) for document in DOCUMENTS) >= COMMAND_FLOOR


def test_every_script_stands_in_a_playbook() -> None:
    """As a command that can be copied, in a step of a skill; also in README and CLAUDE.md."""
    scripts = {f"scripts/{path.name}" for path in checker.SCRIPTS.glob("[a-z]*.py")}
    assert len(scripts) >= 30
    by_place: dict[str, set[str]] = {"playbook": set()}
    for document in DOCUMENTS:
        place = "playbook" if document.path.name == "SKILL.md" else document.path.name
        for command in reading.commands(document):
            by_place.setdefault(place, set()).update(scripts & set(command.text.split()))
    for place in ("playbook", "README.md", "CLAUDE.md"):
        assert sorted(scripts - by_place[place]) == [], f"not in a {place}"


def test_every_flag_has_help() -> None:
    for path in checker.SCRIPTS.glob("[a-z]*.py"):
        for action in checker.actions_of(checker.parser_of(f"scripts/{path.name}")):
            assert action.help, f"{path.name}: {action.option_strings or action.dest}"


SKILLS = sorted((checker.ROOT / ".claude" / "skills").glob("*/SKILL.md"))
SPEC_KEYS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}


@pytest.mark.parametrize("path", SKILLS, ids=lambda path: path.parent.name)
def test_skill_follows_the_specification(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    text = path.read_text(encoding="utf-8")
    match = re.match(r"^---\n(.*?)\n---\n", text, re.DOTALL)
    assert match, "no frontmatter"
    keys = yaml.safe_load(match.group(1))
    assert set(keys) <= SPEC_KEYS
    assert keys["name"] == path.parent.name
    assert re.search(r'^description: ".+"$', match.group(1), re.MULTILINE), "quote the description"
    assert len(keys["description"]) <= 400
    assert len(text.splitlines()) < 250
    for reference in (path.parent / "reference").glob("*.md"):
        assert f"reference/{reference.name}" in text, f"{reference.name} is not named in SKILL.md"


def test_skills_exist_and_fit_the_listing() -> None:
    assert len(SKILLS) >= 3
    descriptions = [re.search(r'^description: "(.+)"$', p.read_text(), re.M) for p in SKILLS]
    # An agent reads all of them before it chooses: 235 characters each, on average.
    assert sum(len(found.group(1)) for found in descriptions if found) <= 235 * len(SKILLS)


def test_guide_is_short() -> None:
    assert len((checker.ROOT / "CLAUDE.md").read_text().splitlines()) < 200
