"""The process that forks the processes of solutions.

It has torch loaded and nothing else: a fork of it is ready in milliseconds instead of seconds. It
never runs code of a solution. Whatever a solution leaves behind becomes its child (it is the
subreaper), is found and killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from kernelkit.bench.isolation import worker
from kernelkit.bench.isolation.channel import Channel, serve

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 << 20  # what mallopt takes at most
SWEEP_SECONDS = 10.0


def main(descriptor: int) -> None:
    """Serve requests on the socket `descriptor` until it closes."""
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the orchestrator's to handle
    worker.preload()
    keep_freed_memory()
    zygote = Zygote(Channel(socket.socket(fileno=descriptor)))
    serve(zygote.channel, {"fork": zygote.fork, "sweep": zygote.sweep})
    zygote.sweep(None)


def process_control(option: int, value: int) -> None:
    """prctl, where there is one."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, for all processes alike.

    It gives the top of the heap back to the system otherwise, and whether a call then pays for new
    pages (half of a small call's time on a CPU) hangs on what the solution allocated before.
    """
    with contextlib.suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


class Zygote:
    """Its children are the processes of solutions, and what these have left."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.known: set[int] = set()
        self.codes: dict[int, int] = {}

    def fork(self, order: dict[str, Any]) -> int:
        """Fork a process for the order; two descriptors follow it: its channel and its log."""
        _, (end, log), _, _ = socket.recv_fds(self.channel.socket, 1, 2)
        pid = os.fork()
        if pid == 0:
            self.channel.close()
            code = 70
            with contextlib.suppress(BaseException):
                code = _child(end, log, order)
            os._exit(code)
        os.close(end)
        os.close(log)
        self.known.add(pid)
        return pid

    def sweep(self, pids: list[int] | None, users: list[int] | None = None) -> dict[str, Any]:
        """Kill `pids` (None: every child), what was left behind and all processes of `users`.

        Returns {"codes": {pid: exit status or minus the signal}, "leftovers": n, "alive": n}.
        """
        leftovers: set[int] = set()
        deadline = time.monotonic() + SWEEP_SECONDS
        while True:
            for user in users or []:
                _kill_user(user)
            others = self._kill(pids)
            leftovers |= others - {*(pids or ())}
            if not others or time.monotonic() > deadline:
                codes = {str(pid): self.codes.pop(pid, None) for pid in pids or ()}
                return {"codes": codes, "leftovers": len(leftovers), "alive": len(others)}
            time.sleep(0.002)

    def _kill(self, pids: list[int] | None) -> set[int]:
        """Signal `pids` and all strangers among the children with their groups, reap the dead; the
        living."""
        self.known -= {*(pids or ())}
        spared = self.known if pids else set()
        for child in set(children(os.getpid())) - spared:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                dead, status = os.waitpid(-1, os.WNOHANG)
                if not dead:
                    break
                self.codes[dead] = os.waitstatus_to_exitcode(status)
        return set(children(os.getpid())) - spared


def children(pid: int) -> list[int]:
    """The children of a process, of all its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _kill_user(user: int) -> None:
    """Kill every process of a user at once, by a process of that user."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setresuid(user, user, user)
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)


def _child(end: int, log: int, order: dict[str, Any]) -> int:
    """In the fork: only standard output and error and the channel stay open."""
    os.setsid()
    process_control(PR_SET_CHILD_SUBREAPER, 0)
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    kept = os.dup2(end, 3) if end != 3 else 3
    os.closerange(4, 4096)
    try:
        worker.main(Channel(socket.socket(fileno=kept)), order)
    except BaseException:  # whatever it raises
        traceback.print_exc()
        return 71
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
