"""A fact about the machine: there, absent, broken, or not to be known."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OK, ABSENT, BROKEN, UNKNOWN = "ok", "absent", "broken", "unknown"


@dataclass(frozen=True)
class Fact:
    """What was found. `name` is the capability that scripts need; `group` orders the report."""

    group: str
    name: str
    state: str
    version: str = ""
    detail: str = ""

    @property
    def usable(self) -> bool:
        """Whether a script that needs it can run."""
        return self.state == OK

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """What a program said. `code` is None where it was ended at its limit."""

    code: int | None
    out: str
    said: str

    @property
    def last(self) -> str:
        """The last line that it said, which in a traceback is the error."""
        lines = [line.strip() for line in (self.said or self.out).splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"exit code {self.code}"


def run(
    words: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
) -> Answer:
    """Run a program without input; at its limit it and all it started are ended.

    Raises FileNotFoundError where there is no such program.
    """
    process = subprocess.Popen(
        list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        out, said = process.communicate(timeout=seconds)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        _end(process)
        (out, said), code = process.communicate(), None
    except BaseException:
        _end(process)
        process.communicate()
        raise
    return Answer(code, out.decode("utf-8", "replace"), said.decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
