"""wrapper_gotchas.md and the registry of codes say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kernelkit.solutions.check.codes import CODES

from .conftest import gotchas

ROOT = Path(__file__).resolve().parents[4]
DOCUMENT = ROOT / ".claude/skills/add-flashinfer-solution/reference/wrapper_gotchas.md"
DOCTOR = ROOT / "scripts/kernelkit/solutions/doctor"
TEXT = DOCUMENT.read_text(encoding="utf-8")
_TABLE, _PARAGRAPH = r"\| (KS\d+) \|.*", r"\*\*(KS\d+) .*(?:\n[^\n*#|].*|\n\*(?!\*).*)*"
ENTRY = re.compile(rf"^(?:{_TABLE}|{_PARAGRAPH})", re.MULTILINE)


def entries() -> dict[str, str]:
    """The text of each documented code."""
    return {found[1] or found[2]: found[0] for found in ENTRY.finditer(TEXT)}


def test_every_code_is_documented_once_and_every_documented_code_exists() -> None:
    defined = [found[1] or found[2] for found in ENTRY.finditer(TEXT)]
    assert sorted(defined) == sorted(CODES)
    assert set(re.findall(r"KS\d+", TEXT)) == set(CODES)


def test_each_entry_has_symptom_cause_diagnostic_and_fix() -> None:
    for code, text in entries().items():
        if text.startswith("|"):
            assert len([cell for cell in text.strip("| \n").split(" | ") if cell]) == 5, text
        else:
            for word in ("Symptom", "Cause", "Diagnostic", "Fix"):
                assert re.search(rf"\*{word}\b|{word.lower()}:\*", text), f"{code}: no {word}"


def test_the_doctor_names_are_those_of_the_codes() -> None:
    for code, text in entries().items():
        named = re.findall(r"doctor `([a-z0-9-]+)`", text)
        assert named[:1] == ([CODES[code].doctor] if CODES[code].doctor else []), code


def test_the_doctor_knows_these_causes() -> None:
    said = "\n".join(path.read_text(encoding="utf-8") for path in DOCTOR.rglob("*.py"))
    if "lse-base-e" not in said:
        pytest.skip("this checkout has no doctor")
    for code, entry in CODES.items():
        stem = re.sub(r"\d+$", "", entry.doctor)  # sm-scale-1-sqrt-{dim} is made from its dim
        assert stem in said, f"{code}: {entry.doctor}"


def test_all_known_mistakes_are_documented() -> None:
    listed = dict(re.findall(r"\bG(\d+)((?: KS\d+)+)[,.]", TEXT.split("## Known mistakes")[1]))
    assert sorted(map(int, listed)) == list(range(1, 47))
    assert all(code in CODES for held in listed.values() for code in held.split())
    for name, entry in gotchas().items():
        for number in entry["gotchas"]:
            told = set(listed[str(number)].split()) & {*entry["finds"], *(entry["smoke"] or [])}
            known = told or "KS907" in (entry["smoke"] or []) or "KS908" in (entry["smoke"] or [])
            assert known, f"{name} shows G{number}"


def test_it_is_short_enough_to_be_read() -> None:
    assert len(TEXT.splitlines()) < 400
