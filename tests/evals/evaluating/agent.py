"""Run any agent that has a command line, in its folder, with a limit of time."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from evaluating.cases import Case
from evaluating.workspace import environment

_RUNNING: set[subprocess.Popen[bytes]] = set()
_PLACE = re.compile(r"\{(prompt|folder|skill|id)\}")


@dataclass(frozen=True)
class Run:
    """How an agent ended: `done`, `failed` (another exit code than 0) or `timeout`."""

    state: str
    code: int | None
    seconds: float
    answer: str


def words_of(command: str, case: Case, folder: Path) -> list[str]:
    """The command's words, places filled; the command is cut before, so a prompt is one word."""
    values = {"prompt": case.prompt, "folder": str(folder), "skill": case.skill, "id": str(case.id)}
    return [_PLACE.sub(lambda match: values[match[1]], word) for word in shlex.split(command)]


def run(command: str, case: Case, folder: Path, seconds: float) -> Run:
    """Run the agent; the prompt comes on stdin where the command has no place for it.

    What it prints is its answer; stderr goes to `agent.stderr` beside the folder. At the limit it
    ends with all that it started. Raises FileNotFoundError where there is no such program.
    """
    has_place = "{prompt}" in command
    log = folder.with_name(f"{folder.name}.stderr")
    began = time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            words_of(command, case, folder), cwd=folder, env=environment(), stderr=errors,
            stdin=subprocess.DEVNULL if has_place else subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        _RUNNING.add(process)
        try:
            text = None if has_place else case.prompt.encode()
            out, _ = process.communicate(text, timeout=seconds)
            state = "done" if process.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            state, out = "timeout", _end(process)
        finally:
            _RUNNING.discard(process)
    answer = out.decode("utf-8", "replace")
    return Run(state, process.returncode, time.monotonic() - began, answer)


def end_all() -> None:
    """End the agents that are still running: those of other threads hear of no Ctrl-C."""
    for process in list(_RUNNING):
        _kill(process)


def _end(process: subprocess.Popen[bytes]) -> bytes:
    """End the agent and its children; returns what was printed until then."""
    _kill(process)
    try:
        return process.communicate(timeout=10)[0]
    except subprocess.TimeoutExpired:  # somebody who left the group holds the pipe
        process.stdout.close()
        return b""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
