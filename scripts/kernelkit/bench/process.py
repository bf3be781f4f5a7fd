"""Start a worker in a process and group of its own, and end all of it on time.

On Linux a server process that has torch loaded, and nothing else, forks each worker: that saves
seconds per worker. The server never runs code of a solution. Elsewhere, and where the temporary
folder's path is too long for the server's socket, each worker starts afresh.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kernelkit.bench import worker

# A Unix socket's path has at most 107 characters; the server adds up to 33 to the folder's.
LONGEST_FOLDER = 70
PRELOADED = ["torch", "numpy", "pydantic", "safetensors.torch"]


@dataclass(frozen=True)
class Ended:
    """How a worker ended: on its own with `code` (negative: by that signal), or at its limit."""

    timed_out: bool
    code: int | None


def run(job: Path, timeout: float) -> Ended:
    """Run the job's worker for at most `timeout` seconds; nothing of its group is left after."""
    served = sys.platform == "linux" and len(tempfile.gettempdir()) <= LONGEST_FOLDER
    context = multiprocessing.get_context("forkserver" if served else "spawn")
    if served:
        context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=worker.main, args=(str(job),))
    process.start()
    pid = process.pid
    assert pid is not None  # it was started
    try:
        process.join(timeout)
        timed_out = process.is_alive()
    finally:
        _kill_group(pid)
        process.kill()  # also where the worker had no group of its own yet
        process.join()
    ended = Ended(timed_out, process.exitcode)
    process.close()
    return ended


def _kill_group(pid: int) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # the group is gone
