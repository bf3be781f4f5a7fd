"""Right solutions have no fault; a mistake that no table holds gets facts and the next test."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from planted_solutions import Plant, named, plants

from kernelkit.solutions.doctor.report import Diagnosis, to_document, to_text

Doctor = Callable[[Plant], Diagnosis]


@pytest.mark.parametrize("plant", plants("sound"), ids=lambda plant: plant.label)
def test_a_right_solution_has_no_fault(plant: Plant, diagnose: Doctor) -> None:
    found = diagnose(plant)
    assert not found.faulty, to_text(found)
    assert found.verdict == "no fault found"
    assert set(found.calls.values()) == {"passed"}
    assert {"small", "single", "more"} <= set(found.calls)


def test_an_unknown_mistake_gets_facts_and_a_next_test(diagnose: Doctor) -> None:
    found = diagnose(named("attention", "mixed_rows"))
    assert found.faulty and not found.findings
    assert found.verdict == "faulty, for no cause that is known"
    assert any(fact.startswith("output: ") and "wrong in" in fact for fact in found.facts)
    assert "--axes" in found.next_test
    assert not any("lse" in fact for fact in found.facts)  # which is right


def test_two_mistakes_are_told_apart_by_output(diagnose: Doctor) -> None:
    found = diagnose(named("attention", "two_mistakes"))
    assert len(found.findings) == 2
    assert all(f.certain and f.explained > 0.99 for f in found.findings)


def test_what_explains_only_some_cases_is_likely_at_most(diagnose: Doctor) -> None:
    found = diagnose(named("attention", "partly_known"))
    assert [f.certain for f in found.findings] == [False]
    assert "something more is in more" in found.findings[0].evidence[-1]


def test_the_evidence_is_measured(diagnose: Doctor) -> None:
    text = to_text(diagnose(named("attention", "lse_base_e")))
    assert "lse / reference = 0.6931" in text
    assert "100.0%" in text
    assert "1.442695" in text


def test_the_document_is_json(diagnose: Doctor) -> None:
    found = diagnose(named("pointwise", "doubled"))
    document = json.loads(json.dumps(to_document(found)))
    assert document["faulty"] is True
    assert document["verdict"] == "constant-factor"
    assert document["findings"][0]["evidence"][0].startswith("C / reference = 2.0000")
