"""Checks of what an agent left behind: each looks at files, at commands or at the answer.

A check is a JSON object with a `kind`; each kind is a function that returns None where it holds,
else why not, and a sentence of it. All fail in an empty folder: a task that was not done passes
nothing.

    file       path (a glob), count: that many files (default: 1), none of them empty
    unchanged  path (a file, folder or glob): as it was when the agent began
    json       path, at (keys and indices), and one of equals, contains, at_least, length
    lines      path (a glob), at_least: lines that are not blank, in all files
    text       path (a glob), and matches or lacks (regular expressions; of all files)
    command    run (a script of the pack), exit (default: 0), stdout (regular expression)
    answer     matches: a regular expression that what the agent said fulfils
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluating.cases import ROOT
from evaluating.digests import digests

Check = dict[str, Any]
COMMAND_SECONDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """What a run of an agent left: its folder, what it said, and the folder's state before."""

    folder: Path
    answer: str = ""
    before: dict[str, dict[str, str]] = field(default_factory=dict)

    def found(self, pattern: str) -> list[Path]:
        """The files that a glob names."""
        return sorted(path for path in self.folder.glob(pattern) if path.is_file())


def _file(check: Check, outcome: Outcome) -> str | None:
    found = outcome.found(check["path"])
    empty = [path.name for path in found if path.stat().st_size == 0]
    if len(found) < check.get("count", 1):
        return f"{len(found)} of them are there"
    return f"empty: {', '.join(empty)}" if empty else None


def _unchanged(check: Check, outcome: Outcome) -> str | None:
    before = outcome.before.get(check["path"], {})
    now = digests(outcome.folder, check["path"])
    if not before:
        return "was not there at the start"
    changed = sorted(
        path for path in before.keys() | now.keys() if before.get(path) != now.get(path)
    )
    return f"changed: {', '.join(changed[:3])}" if changed else None


def _json(check: Check, outcome: Outcome) -> str | None:
    found = outcome.found(check["path"])
    reasons = [_json_of(check, path) for path in found]
    return next((reason for reason in reasons if reason), None) if found else "no such file"


def _json_of(check: Check, path: Path) -> str | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        for key in check["at"]:
            value = value[key]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"{path.name}: {type(error).__name__}: {error}"
    holds = {
        "equals": lambda wanted: value == wanted,
        "contains": lambda wanted: wanted in value,
        "at_least": lambda wanted: value >= wanted,
        "length": lambda wanted: len(value) == wanted,
    }
    (relation,) = holds.keys() & check.keys()
    try:
        return None if holds[relation](check[relation]) else f"it is {str(value)[:100]}"
    except TypeError:
        return f"it is {str(value)[:100]}"


def _lines(check: Check, outcome: Outcome) -> str | None:
    texts = [path.read_text(encoding="utf-8") for path in outcome.found(check["path"])]
    count = sum(bool(line.strip()) for text in texts for line in text.splitlines())
    return None if count >= check["at_least"] else f"{count} lines"


def _text(check: Check, outcome: Outcome) -> str | None:
    found = outcome.found(check["path"])
    for path in found:
        text = path.read_text(encoding="utf-8", errors="replace")
        if "matches" in check and not re.search(check["matches"], text):
            return f"{path.name} does not match"
        if "lacks" in check and (match := re.search(check["lacks"], text)):
            return f"{path.name} has {match.group()!r}"
    return None if found else "no such file"


def _command(check: Check, outcome: Outcome) -> str | None:
    """With the scripts of this repository: those in the folder may have been edited."""
    program, script, *words = shlex.split(check["run"])
    assert program == "python" and script.startswith("scripts/"), check["run"]
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / script), *words], cwd=outcome.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not finished in {COMMAND_SECONDS:g} s"
    if done.returncode != check.get("exit", 0):
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        return f"exit {done.returncode}: {''.join(last)[:200]}"
    matches = "stdout" not in check or re.search(check["stdout"], done.stdout)
    return None if matches else "its output does not match"


def _answer(check: Check, outcome: Outcome) -> str | None:
    matches = re.search(check["matches"], outcome.answer, re.IGNORECASE)
    return None if matches else "the answer does not say it"


@dataclass(frozen=True)
class Kind:
    """A kind of check: its keys, how it is decided, and its sentence."""

    needed: frozenset[str]
    allowed: frozenset[str]
    decide: Callable[[Check, Outcome], str | None]


def _kind(decide: Callable[[Check, Outcome], str | None], needed: str, more: str = "") -> Kind:
    return Kind(frozenset(needed.split()), frozenset(f"kind {needed} {more}".split()), decide)


KINDS = {
    "file": _kind(_file, "path", "count"),
    "unchanged": _kind(_unchanged, "path"),
    "json": _kind(_json, "path at", "equals contains at_least length"),
    "lines": _kind(_lines, "path at_least"),
    "text": _kind(_text, "path", "matches lacks"),
    "command": _kind(_command, "run", "exit stdout"),
    "answer": _kind(_answer, "matches"),
}


def decide(check: Check, outcome: Outcome) -> str | None:
    """None where the check holds, else why it does not."""
    return KINDS[check["kind"]].decide(check, outcome)


def sentence(check: Check) -> str:
    """The check as an assertion for people, and for judges that read."""
    path = check.get("path")
    if check["kind"] == "file":
        count = check.get("count", 1)
        return f"{path} exists" if count == 1 else f"At least {count} files match {path}"
    if check["kind"] == "unchanged":
        return f"{path} is as it was before"
    if check["kind"] == "json":
        where = ".".join(map(str, check["at"])) or "the document"
        relation = {"equals": "equals", "contains": "contains", "at_least": "is at least",
                    "length": "has the length"}  # fmt: skip
        (key,) = relation.keys() & check.keys()
        return f"In {path}, {where} {relation[key]} {json.dumps(check[key], ensure_ascii=False)}"
    if check["kind"] == "lines":
        return f"{path} has at least {check['at_least']} lines"
    return _sentence_of_text(check)


def _sentence_of_text(check: Check) -> str:
    if check["kind"] == "command":
        said = f" and prints /{check['stdout']}/" if "stdout" in check else ""
        return f"`{check['run']}` ends with exit code {check.get('exit', 0)}{said}"
    if check["kind"] == "answer":
        return f"The answer matches /{check['matches']}/"
    parts = [f"{word} /{check[key]}/" for key, word in (("matches", "matches"), ("lacks", "lacks")) if key in check]  # fmt: skip  # noqa: E501
    return f"{check['path']} {' and '.join(parts)}"
