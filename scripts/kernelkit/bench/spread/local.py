"""The process that evaluates on one device of this machine, as the orchestrator sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from kernelkit import places
from kernelkit.bench.selection import Plan
from kernelkit.bench.settings import Settings
from kernelkit.bench.spread.parcel import pack
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.errors import (
    EXIT_MISSING,
    EXIT_USAGE,
    KernelkitError,
    MissingDependencyError,
    UsageError,
)

STOP_SECONDS = 5.0  # for ending its processes and removing its folders
KINDS = {EXIT_USAGE: UsageError, EXIT_MISSING: MissingDependencyError}


class Deputy:
    """A process of its own for a device: one that hangs or dies takes nothing else along."""

    def __init__(self, dataset: Dataset, settings: Settings, engine: str) -> None:
        self.stopping = threading.Lock()
        self.folder = tempfile.mkdtemp(prefix="kernelkit-")
        os.chmod(self.folder, 0o711)  # a solution's own user must reach its folder below
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kernelkit.bench.spread.deputy"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": places.import_path(), "TMPDIR": self.folder},
            start_new_session=True,
        )  # fmt: skip
        self._send({
            "dataset": str(dataset.root.resolve()), "settings": dataclasses.asdict(settings),
            "engine": engine,
        })  # fmt: skip

    def run(self, plan: Plan) -> Iterator[Trace | str | None]:
        """Run a plan; None: it is at work. Raises KernelkitError where it ends before that."""
        yield None
        self._send(pack(plan))
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            if "end" in answer:
                return
            yield told(answer)
        raise KernelkitError(f"its process ended with exit code {self.process.wait()}")

    def stop(self) -> None:
        """End it, kindly at first; remove what it has left."""
        with self.stopping:
            assert self.process.stdin is not None
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            if not self._ended():
                with contextlib.suppress(OSError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self._ended()  # or not: a driver may hold it for ever
            assert self.process.stdout is not None
            with contextlib.suppress(OSError):
                self.process.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _ended(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        return self.process.returncode is not None

    def _send(self, document: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone: `run` says how
            self.process.stdin.write(json.dumps(document) + "\n")
            self.process.stdin.flush()


def told(answer: dict[str, Any]) -> Trace | str:
    """What a line of a deputy says. Raises what it raised."""
    if "trace" in answer:
        return Trace.model_validate(answer["trace"])
    if "raised" in answer:
        raise KINDS.get(answer["code"], KernelkitError)(answer["raised"])
    return str(answer["text"])
