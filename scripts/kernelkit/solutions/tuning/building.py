"""Build variants side by side, each lane a process of its own, so that none can harm another."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Queue

from kernelkit import places

WORKER = "kernelkit.solutions.tuning.worker"


def build_all(jobs: Sequence[str], lanes: int, timeout: float) -> dict[str, str]:
    """The error of each variant by its folder, empty for none; `timeout` seconds for each."""
    waiting: Queue[str] = Queue()
    for job in jobs:
        waiting.put(job)
    errors: dict[str, str] = {}
    with ThreadPoolExecutor(max(1, min(lanes, len(jobs)))) as pool:
        for _ in range(min(lanes, len(jobs))):
            pool.submit(_lane, waiting, timeout, errors)
    return errors


def _lane(waiting: Queue[str], timeout: float, errors: dict[str, str]) -> None:
    """Feed one process after another until nothing waits."""
    process: subprocess.Popen[str] | None = None
    while True:
        try:
            job = waiting.get_nowait()
        except Empty:
            break
        process = process or _start()
        errors[json.loads(job)["folder"]] = error = _ask(process, job, timeout)
        if error:  # a fresh process: the last may be hung, or its device unusable
            process.kill()
            _end(process)
            process = None
    if process is not None:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Close its pipes, so that it ends, and wait for that."""
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):  # a line that a killed process never read
            if pipe is not None:
                pipe.close()
    process.wait()


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", WORKER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": places.import_path()},
    )  # fmt: skip


def _ask(process: subprocess.Popen[str], job: str, timeout: float) -> str:
    """One variant's error. The process is killed where it takes longer than `timeout` seconds."""
    assert process.stdin is not None and process.stdout is not None
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        process.stdin.write(job + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    finally:
        timer.cancel()
    if late.is_set():
        return f"not built within {timeout:g} s"
    return json.loads(answer)["error"] if answer else "the process that built it ended"
