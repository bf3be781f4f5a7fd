"""The descriptions tell the skills apart: queries of users find theirs, near misses do not.

Measured when written: 91 % of the positive queries have their skill first or second, 88 % of the
near misses do not have it first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from evaluating.cases import SKILLS, Query, queries, skill_names
from evaluating.routing import Router

NAMES = skill_names()
SHARE, SHARE_OF_ONE = 0.85, 0.6


def descriptions() -> dict[str, str]:
    """What an agent sees of each skill before it chooses."""
    texts = {name: (SKILLS / name / "SKILL.md").read_text(encoding="utf-8") for name in NAMES}
    found = {name: re.search(r'^description: "(.+)"$', text, re.M) for name, text in texts.items()}
    return {name: match.group(1) for name, match in found.items() if match}


def misrouted(texts: Mapping[str, str], found: list[Query]) -> list[str]:
    """Positive queries whose skill is not first or second, near misses where it is first."""
    router = Router(texts)
    wrong = []
    for query in found:
        ranked = router.rank(query.text)
        if query.should_trigger != (query.skill in ranked[: 2 if query.should_trigger else 1]):
            wrong.append(f"{query.skill}: {query.text!r} -> {ranked[:2]}")
    return wrong


def _of(skill: str, positive: bool) -> list[Query]:
    return [query for query in queries(skill) if query.should_trigger == positive]


@pytest.mark.parametrize("positive", [True, False], ids=["positive", "near misses"])
def test_most_queries_find_their_skill(positive: bool) -> None:
    found = [query for name in NAMES for query in _of(name, positive)]
    assert len(found) >= 150
    wrong = misrouted(descriptions(), found)
    assert len(wrong) <= (1 - SHARE) * len(found), "\n".join(wrong)


@pytest.mark.parametrize("positive", [True, False], ids=["positive", "near misses"])
@pytest.mark.parametrize("skill", NAMES)
def test_no_skill_is_left_behind(skill: str, positive: bool) -> None:
    found = _of(skill, positive)
    wrong = misrouted(descriptions(), found)
    assert len(wrong) <= (1 - SHARE_OF_ONE) * len(found), "\n".join(wrong)


def test_it_is_the_descriptions_that_route() -> None:
    """With the descriptions of others, queries do not find their skill."""
    texts = list(descriptions().values())
    moved = dict(zip(NAMES, [*texts[4:], *texts[:4]], strict=True))
    found = [query for name in NAMES for query in _of(name, True)]
    assert len(misrouted(moved, found)) > 0.7 * len(found)


def test_a_query_about_something_else_finds_nothing() -> None:
    router = Router(descriptions())
    assert router.rank("what is the weather in Lisbon") == router.rank("") == []


def test_typing_errors_count_less() -> None:
    router = Router(descriptions())
    assert router.rank("bencmark and debgu my kernl")[0] == "add-flashinfer-solution"
