"""Runs a command, and ends all that descends from it when it ends, or when the owner is gone.

    python guard.py [--grace SECONDS] -- COMMAND ...

The owner holds the other end of this program's standard input: its end, however it comes (return,
crash, SIGKILL), closes the pipe, and that is the order to stop. Descendants are found by parent
(this program is their reaper, so that none escapes by a session or group of its own) and get
SIGTERM, then SIGKILL. Exit code: the command's; 128 + n for signal n.

Only the standard library, and no package: it is run by path, with any Python.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command to its end, or to the owner's."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--grace", type=float, default=5.0, help="seconds from TERM to KILL")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    become_reaper()
    stop = _on_signals()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    code = _wait(child, stop)
    end_descendants(os.getpid(), args.grace)
    if code is None:
        code = child.wait()
    return code if code >= 0 else 128 - code


def _on_signals() -> list[int]:
    """A list that a signal to end appends itself to."""
    got: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: got.append(received))
    return got


def _wait(child: subprocess.Popen[bytes], stop: list[int]) -> int | None:
    """The exit code, or None where the owner is gone or a signal came."""
    while child.poll() is None:
        if stop:
            return None
        try:
            ready, _, _ = select.select([0], [], [], POLL_S)
            if ready and not os.read(0, 1024):
                return None
        except OSError:  # no standard input at all: nobody holds it
            time.sleep(POLL_S)
    return child.returncode


def become_reaper() -> bool:
    """Orphans below this process become its children (Linux); False where that is unknown."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def descendants_of(pid: int) -> list[int]:
    """All living descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := _parent(int(entry))) is not None:
            parents.setdefault(parent, []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        below = parents.get(queue.pop(), [])
        found += below
        queue += below
    return [one for one in found if _state(one) not in ("Z", "X", "")]


def end_descendants(pid: int, grace_s: float) -> None:
    """SIGTERM, then SIGKILL to whatever is left after `grace_s`, until none is."""
    _send(descendants_of(pid), signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while descendants_of(pid) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for _ in range(100):
        left = descendants_of(pid)
        if not left:
            return
        _send(left, signal.SIGKILL)
        time.sleep(POLL_S)


def _send(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _stat(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else None


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


if __name__ == "__main__":
    raise SystemExit(main())
