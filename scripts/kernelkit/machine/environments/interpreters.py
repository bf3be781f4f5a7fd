"""A Python on this machine for which there is a lock."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from kernelkit.errors import MissingDependencyError, UsageError
from kernelkit.machine.environments.locks import Lock
from kernelkit.machine.facts import run

_ASK = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
_SECONDS = 20.0


def version_of(program: str) -> tuple[str, str] | None:
    """The version (as 3.12) of an interpreter and its full path; None where it does not run.

    A shim of a version manager stands on PATH for Pythons that are not chosen, too: only running
    it tells.
    """
    try:
        answer = run([program, "-c", _ASK], _SECONDS)
    except OSError:
        return None
    lines = answer.out.splitlines()  # a path may hold spaces
    return (lines[0], lines[1]) if answer.code == 0 and len(lines) == 2 else None


def choose(locks: Sequence[Lock], wanted: str | None) -> tuple[Lock, str]:
    """The lock to use and the interpreter for it: `wanted`, this one, or the first on PATH.

    Raises UsageError where `wanted` does not run or has no lock, MissingDependencyError where no
    Python with a lock is found.
    """
    by_python = {lock.python: lock for lock in locks}
    allowed = "Python " + " or ".join(by_python)
    if wanted is not None:
        found = version_of(wanted)
        if found is None or found[0] not in by_python:
            told = f"{wanted} ({found[0]})" if found else f"{wanted}, which does not run"
            raise UsageError("--python is none that has a lock", received=told, allowed=allowed)
        return by_python[found[0]], found[1]
    for program in (sys.executable, *(f"python{version}" for version in by_python)):
        path = shutil.which(program)
        found = version_of(path) if path else None
        if found and found[0] in by_python:
            return by_python[found[0]], found[1]
    raise MissingDependencyError(
        "no Python with a lock for this purpose runs here",
        allowed=allowed,
        next_step="install one, or name it with --python",
    )
