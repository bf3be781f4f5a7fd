"""Start a worker in a process and group of its own, and end all of it on time.

On Linux a server process that has torch loaded, and nothing else, forks each worker: that saves
seconds per worker. The server never runs code of a solution. Elsewhere each worker starts afresh.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from kernelkit.bench import worker

PRELOADED = ["torch", "numpy", "pydantic", "safetensors.torch"]


@dataclass(frozen=True)
class Ended:
    """How a worker ended: on its own with `code` (negative: by that signal), or at its limit."""

    timed_out: bool
    code: int | None


def run(job: Path, timeout: float) -> Ended:
    """Run the job's worker for at most `timeout` seconds; nothing of its group is left after."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
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
