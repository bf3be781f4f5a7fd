"""Runs a command in a session of its own, and says what it has left behind.

    python supervisor.py REPORT.json SECONDS -- COMMAND...

Whatever loses its parent below becomes a child of this process (it is the subreaper). After the
command, or after SECONDS, all descendants that are still there are named in the report and killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SET_SUBREAPER, SET_DEATH_SIGNAL = 36, 1
GRACE_SECONDS = 2.0  # of processes that are being ended already


def main(report: str, seconds: str, command: list[str]) -> None:
    """Run, clean up, write the report: code (None: killed), seconds, leftovers."""
    ctypes.CDLL(None).prctl(SET_SUBREAPER, 1, 0, 0, 0)
    ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stop)
    start = time.monotonic()
    process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        code: int | None = process.wait(float(seconds))
    except subprocess.TimeoutExpired:
        code = None
    took = time.monotonic() - start
    left = _settle(0.0 if code is None else GRACE_SECONDS)
    _end()
    document = {"code": code, "seconds": took, "leftovers": left if code is not None else []}
    Path(report).write_text(json.dumps(document))


def _stop(*_: object) -> None:
    """The runner is gone: so must everything be."""
    _end()
    sys.exit(143)


def descendants() -> dict[int, str]:
    """All processes below this one that have not ended, with their commands."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{int(name)}/stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] not in b"ZX":
                parents[int(name)] = int(fields[1])
    found: dict[int, str] = {}
    waiting = {os.getpid()}
    while waiting:
        waiting = {pid for pid, parent in parents.items() if parent in waiting} - found.keys()
        found.update({pid: _command(pid) for pid in waiting})
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        data = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return data.decode("utf-8", "replace").strip()[:200]
    return "?"


def _settle(seconds: float) -> list[str]:
    """What is left after so many seconds."""
    end = time.monotonic() + seconds
    while (left := descendants()) and time.monotonic() < end:
        _reap()
        time.sleep(0.05)
    return [f"{pid} {command}" for pid, command in left.items()]


def _end() -> None:
    """Kill all descendants, one by one, until there are none."""
    end = time.monotonic() + 10
    while (left := descendants()) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[4:])
