"""Find what a document promises and the repository does not keep.

Commands in bash, sh and console fences are cut into words and parsed with the real parser of the
script that they name. Flags, paths, links and skill names in the running text are looked up.
Each `find_*` function takes a Document and returns Problems.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from reading import ROOT, Document, commands, split

SCRIPTS = ROOT / "scripts"


# A placeholder in a documented command, and a value of its type.
PLACEHOLDERS = {
    "<definition>": "rmsnorm_h4096",
    "<dataset>": "tmp/flashinfer-trace",
    "<config>": "config.json",
    "<org/name>": "meta-llama/Llama-3.1-8B",
    "<model>": "llama-3.1-8b",
    "<op-type>": "rmsnorm",
    "<dir>": "out/x",
    "<file>": "out/x.html",
    "<author>": "someone",
    "<solution>": "my_kernel",
    "<other>": "torch_rmsnorm_h4096",
    "<url>": "https://example.org/x.git",
}
# Foreign programs that a document may call, and why.
FOREIGN = {
    "git": "to clone and to see changes",
    "cd": "to enter the checkout",
    "export": "to set a switch",
    "pip": "to install the pack into an environment of one's own",
    "source": "to enter a virtual environment",
    "ls": "to look",
    "cat": "to look",
    "pytest": "to run chosen tests",
    "ruff": "to lint and format",
    "hf": "to log in to the hub",
    "srun": "to run a command on a cluster's node",
    "enroot": "to make and enter a container image",
}
# Ours, with a parser: what users run, and developers' tools beside the tests.
_SCRIPT = re.compile(
    r"(?:scripts|tests/docs|tests/evals|tests/fuzz|tests/mutation)/(?!test_)\w+\.py"
)
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_REPO_PATH = re.compile(r"^(?:scripts|tests|templates|\.claude|\.ci)/[\w./{}*-]+$")
_SKILL = re.compile(r"(?<![\w/.])/([a-z]+(?:-[a-z]+)+)\b")


@dataclass(frozen=True)
class Problem:
    """A broken promise and where it stands."""

    place: str
    message: str


@cache
def parser_of(script: str) -> argparse.ArgumentParser:
    """The real parser of a script, as `scripts/bench.py`. Raises FileNotFoundError."""
    path = ROOT / script
    if not path.is_file():
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_parser()


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its sub-commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from actions_of(command)


def find_bad_commands(document: Document) -> list[Problem]:
    """Commands of an absent script, with arguments that do not parse, or of an unknown program."""
    problems = []
    for command in commands(document):
        place = document.place(command.line)
        filled = command.text
        for placeholder, value in PLACEHOLDERS.items():
            filled = filled.replace(placeholder, value)
        if unknown := re.search(r"<[a-z][\w /-]*>", filled):
            problems.append(Problem(place, f"unknown placeholder {unknown.group()}"))
            continue
        for words in split(filled):
            if words and (message := _problem_of(words)):
                problems.append(Problem(place, message))
    return problems


def _problem_of(words: list[str]) -> str | None:
    program, *arguments = words
    if program in ("python", "python3") and arguments:
        return _problem_of_script(arguments)
    if program == "bash" and arguments[:1] == ["-c"]:
        problems = [_problem_of(part) for part in split(arguments[1]) if part]
        return next((problem for problem in problems if problem), None)
    if program == "bash" and arguments:
        return None if (ROOT / arguments[0]).is_file() else f"no such file: {arguments[0]}"
    if program in ("srun", "enroot"):  # options, then the command that they run
        starts = [words.index(inner) for inner in ("python", "bash") if inner in words]
        return _problem_of(words[min(starts) :]) if starts else None
    return None if program in FOREIGN else f"unknown program {program!r}"


def _problem_of_script(arguments: list[str]) -> str | None:
    if arguments[0] == "-m" and arguments[1:2] and arguments[1] in ("pytest", "venv", "pip"):
        return None
    if not _SCRIPT.fullmatch(arguments[0]):
        return f"not a script of this repository: {arguments[0]}"
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            parser_of(arguments[0]).parse_args(arguments[1:])
    except FileNotFoundError:
        return f"no such script: {arguments[0]}"
    except SystemExit as stop:
        if stop.code not in (0, None):
            return f"{arguments[0]}: {output.getvalue().strip().splitlines()[-1]}"
    return None


def find_unknown_flags(document: Document) -> list[Problem]:
    """Flags in running text that no parser of a script named in the document has."""
    known = _flags_of_document(document)
    return [
        Problem(document.place(number), f"no script named here has {flag}")
        for number, line in document.prose()
        for code in _CODE.findall(line)
        for flag in _FLAG.findall(code)
        if flag not in known
    ]


def _flags_of_document(document: Document) -> set[str]:
    flags = {"--help"}
    for script in set(_SCRIPT.findall(document.text)):
        with contextlib.suppress(FileNotFoundError):
            for action in actions_of(parser_of(script)):
                flags.update(action.option_strings)
    for script in set(re.findall(r"scripts/(\w+\.sh)", document.text)):
        if (SCRIPTS / script).is_file():
            flags.update(_FLAG.findall((SCRIPTS / script).read_text(encoding="utf-8")))
    return flags


def find_dead_paths(document: Document) -> list[Problem]:
    """Relative links and paths of this repository, in code spans, that lead nowhere."""
    problems = []
    for number, line in document.prose():
        for target in _LINK.findall(line):
            if re.match(r"^(https?:|mailto:|#)", target):
                continue
            if not (document.path.parent / target.split("#")[0]).exists():
                problems.append(Problem(document.place(number), f"dead link {target}"))
        for code in _CODE.findall(line):
            path = code.split()[0].split("::")[0]
            if _REPO_PATH.match(path) and not _exists(path):
                problems.append(Problem(document.place(number), f"no such path {path}"))
    return problems


def _exists(path: str) -> bool:
    if "{" in path or "*" in path:
        return any(ROOT.glob(re.sub(r"\{[^}]*\}", "*", path)))
    return (ROOT / path).exists()


def find_bad_words(document: Document) -> list[Problem]:
    """What must not stand in a playbook: shell positions, home folders, unset variables."""
    rules = {
        r"\$\d": "a dollar sign followed by a digit is replaced by an argument",
        r"/(?:home|Users|root)/": "a path of one machine",
        r"\{baseDir\}|CLAUDE_PLUGIN_ROOT": "a variable that is not set everywhere",
    }
    return [
        Problem(document.place(number), meaning)
        for number, line, _ in document.lines()
        for rule, meaning in rules.items()
        if re.search(rule, line)
    ]


def find_unknown_skills(document: Document, skills: set[str]) -> list[Problem]:
    """Slash commands in code spans that name no skill."""
    return [
        Problem(document.place(number), f"no such skill /{name}")
        for number, line in document.prose()
        for code in _CODE.findall(line)
        for name in _SKILL.findall(code)
        if name not in skills
    ]


def skill_names() -> set[str]:
    """The skills of the pack."""
    return {path.parent.name for path in (ROOT / ".claude" / "skills").glob("*/SKILL.md")}
