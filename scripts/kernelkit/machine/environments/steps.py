"""One step of making an environment: a command, its output in the log, and its limit of time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import DeadlineError, MissingDependencyError

_FULL = "No space left on device"
_SHOWN = 100  # characters of the log's last line that a terminal shows


@dataclass(frozen=True)
class Step:
    """What is done, and the words that do it.

    Where an `optional` step fails, the `fallback` after it makes up for it; else that is left out.
    """

    what: str
    words: list[str]
    optional: bool = False
    fallback: bool = False


def carry_out(step: Step, log: Path, seconds: float, temporary: Path) -> bool:
    """Run a step; True where it went well, False where an optional one failed.

    Raises MissingDependencyError with the end of the log, DeadlineError at the limit.
    """
    begin = log.stat().st_size if log.exists() else 0
    temporary.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"\n$ {' '.join(step.words)}\n".encode())
        file.flush()
        code = _wait(step.words, file.fileno(), log, seconds, temporary)
    if code == 0:
        return True
    said = log.read_bytes()[begin:].decode("utf-8", "replace")
    if code is None:
        raise DeadlineError(
            f"{step.what} took too long",
            received=f"{seconds:g} s",
            next_step=f"raise --timeout and run this again: it goes on; the output is in {log}",
        )
    if step.optional:
        return False
    raise MissingDependencyError(
        f"{step.what} failed: {_reason(said)}",
        next_step=f"read {log}, then run the same command again: it goes on where it stopped",
    )


def _wait(
    words: Sequence[str], output: int, log: Path, seconds: float, temporary: Path
) -> int | None:
    """The exit code, None at the limit. Whatever ends this ends the command and its children."""
    try:
        process = subprocess.Popen(
            list(words), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=_environment(temporary), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise MissingDependencyError(f"{words[0]} does not start: {error}") from None
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            try:
                return process.wait(timeout=min(1.0, max(0.01, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                _show(log)
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _show(None)


def _environment(temporary: Path) -> dict[str, str]:
    """This process's environment; what would lead the installer to another Python is left out."""
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}


def _show(log: Path | None) -> None:
    """The log's last line on a terminal, in place; None wipes it."""
    if not sys.stderr.isatty():
        return
    lines = log.read_bytes()[-2000:].decode("utf-8", "replace").split("\n") if log else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    print(f"\r\033[K{last[:_SHOWN]}", end="", file=sys.stderr, flush=True)


def _reason(said: str) -> str:
    if _FULL in said:
        return "the disk is full"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if "error" in line.lower()]
    return " ".join(lines[errors[-1] if errors else -1 :])[:300] or "it said nothing"
