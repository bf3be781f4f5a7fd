"""The owner's side of a guarded program: start it, wait with a deadline, stop it, read its log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from kernelkit.errors import DeadlineError

GUARD = Path(__file__).with_name("guard.py")
POLL_S = 0.1
TAIL_BYTES = 20_000


class Group:
    """A running program and all its descendants. Used as a context, it is always ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace_s: float = 5.0,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.command = list(command)
        self._grace_s = grace_s
        with log.open("ab") as output:
            self._start = output.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-S", "-E", str(GUARD), "--grace", str(grace_s), "--", *command],
                stdin=subprocess.PIPE, stdout=output, stderr=output,
                env=dict(env) if env is not None else None, cwd=cwd, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The guard's process."""
        return self._guard.pid

    def poll(self) -> int | None:
        """The program's exit code, None while it runs."""
        return self._guard.poll()

    def wait(
        self, timeout_s: float, *, watch: Callable[[], None] | None = None, what: str = "program"
    ) -> int:
        """The exit code. `watch` is called while waiting and may raise to give up.

        Raises DeadlineError after `timeout_s`; the program still runs then: `stop` it.
        """
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            if watch is not None:
                watch()
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"{what} did not end", received=f"{timeout_s:g} s", next_step=f"see {self.log}"
                )
            time.sleep(POLL_S)
        return code

    def stop(self) -> int:
        """End the program and all its descendants; returns its exit code. Harmless twice."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            return self._guard.wait(self._grace_s + 10)
        except subprocess.TimeoutExpired:
            os.killpg(self._guard.pid, signal.SIGKILL)
            return self._guard.wait()

    def output(self) -> str:
        """The end of what this program has printed."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._start, size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
