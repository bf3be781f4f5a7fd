"""Each kind of check holds where it should, fails where it should, and says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluating import checks
from evaluating.checks import Outcome, decide
from evaluating.digests import digests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A JSON document, two JSON lines with a blank one between, a text, an empty file."""
    (tmp_path / "a.json").write_text(json.dumps({"rows": [{"n": 3}], "name": "x"}))
    (tmp_path / "b.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    (tmp_path / "c.txt").write_text("a word\n")
    (tmp_path / "empty.txt").write_text("")
    return tmp_path


JSON = {"kind": "json", "path": "a.json"}
HOLD: list[dict[str, Any]] = [
    {"kind": "file", "path": "a.json"},
    {"kind": "file", "path": "[abc].*", "count": 3},
    {**JSON, "at": ["rows", 0, "n"], "equals": 3},
    {**JSON, "at": ["rows", 0, "n"], "at_least": 2},
    {**JSON, "at": ["rows"], "length": 1},
    {**JSON, "at": ["name"], "contains": "x"},
    {"kind": "lines", "path": "*.jsonl", "at_least": 2},
    {"kind": "text", "path": "c.txt", "matches": r"\bword\b"},
    {"kind": "text", "path": "c.txt", "lacks": "sword"},
    {"kind": "answer", "matches": r"\b14\b"},
    {"kind": "command", "run": "python scripts/doctor.py --help", "stdout": "exit codes"},
    {"kind": "command", "run": "python scripts/doctor.py --no-such", "exit": 2},
]
FAIL: list[tuple[dict[str, Any], str]] = [
    ({"kind": "file", "path": "absent"}, "0 of them"),
    ({"kind": "file", "path": "*.txt", "count": 2}, "empty: empty.txt"),
    ({**JSON, "at": ["rows", 1], "equals": 3}, "IndexError"),
    ({**JSON, "at": ["rows", 0, "n"], "equals": "3"}, "it is 3"),
    ({**JSON, "at": ["name"], "at_least": 2}, "it is x"),
    ({"kind": "json", "path": "c.txt", "at": [], "length": 1}, "JSONDecodeError"),
    ({"kind": "json", "path": "absent", "at": [], "length": 1}, "no such file"),
    ({"kind": "lines", "path": "*.jsonl", "at_least": 3}, "2 lines"),
    ({"kind": "text", "path": "c.txt", "lacks": "word"}, "has 'word'"),
    ({"kind": "text", "path": "*.txt", "matches": "word"}, "empty.txt does not match"),
    ({"kind": "text", "path": "absent", "lacks": "word"}, "no such file"),
    ({"kind": "answer", "matches": "15"}, "does not say"),
    ({"kind": "command", "run": "python scripts/doctor.py --no-such"}, "exit 2: .*no-such"),
    ({"kind": "command", "run": "python scripts/doctor.py --help", "stdout": "zebra"}, "output"),
    ({"kind": "unchanged", "path": "c.txt"}, "was not there"),
]  # fmt: skip


@pytest.mark.parametrize("check", HOLD, ids=str)
def test_it_holds(check: dict[str, Any], folder: Path) -> None:
    assert decide(check, Outcome(folder, "It is 14.")) is None
    assert checks.sentence(check)


@pytest.mark.parametrize(("check", "reason"), FAIL, ids=str)
def test_it_fails_and_says_why(check: dict[str, Any], reason: str, folder: Path) -> None:
    import re

    said = decide(check, Outcome(folder, "It is 14."))
    assert said is not None and re.search(reason, said), said


def test_every_kind_is_tried() -> None:
    assert {c["kind"] for c in HOLD} | {"unchanged"} == set(checks.KINDS)
    assert {c["kind"] for c, _ in FAIL} == set(checks.KINDS)


def test_unchanged_sees_edits_new_and_absent_files(folder: Path) -> None:
    (folder / "tree" / ".git").mkdir(parents=True)
    (folder / "tree" / "x").write_text("1")
    check = {"kind": "unchanged", "path": "tree"}
    outcome = Outcome(folder, before={"tree": digests(folder, "tree")})
    (folder / "tree" / ".git" / "index").write_text("git looked")
    assert decide(check, outcome) is None
    (folder / "tree" / "y").write_text("2")
    assert decide(check, outcome) == "changed: tree/y"
    (folder / "tree" / "y").unlink()
    (folder / "tree" / "x").unlink()
    assert decide(check, outcome) == "changed: tree/x"
