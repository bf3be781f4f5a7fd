"""A trusted process of the evaluator, as the orchestrator sees it. Loads no torch."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from kernelkit import places
from kernelkit.bench.isolation.channel import (
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    ProtocolError,
)
from kernelkit.errors import KernelkitError

START_SECONDS = 180.0  # importing torch on a busy machine or a slow disk


class Service:
    """A trusted process of the evaluator, and the channel to it.

    `environment`: its variables, in place of this process's.
    """

    def __init__(self, module: str, log: Path, environment: dict[str, str] | None = None) -> None:
        own, other = socket.socketpair()
        os.set_inheritable(other.fileno(), True)
        given = dict(os.environ) if environment is None else environment
        variables = {**given, "PYTHONPATH": places.import_path(), "PYTHONUNBUFFERED": "1"}
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
                cwd=log.parent,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )
        other.close()
        self.channel = Channel(own)
        self.limit = START_SECONDS
        self.broken = False
        self.lock = threading.Lock()  # one request at a time
        self.begun: tuple[int, str] | None = None  # a request whose answer is still to be read

    def begin(self, do: str, **arguments: Any) -> None:
        """Ask it, and do not wait for the answer: `finish` does. Raises ServiceError."""
        self.finish()
        with self.lock:
            self.begun = self._post(do, arguments), do

    def finish(self) -> Any:
        """The answer to what was begun; None where nothing was. Raises ServiceError."""
        with self.lock:
            begun, self.begun = self.begun, None
            return None if begun is None else self._answer(*begun)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Ask it. Raises ServiceError with what it says, or where it does not answer."""
        self.finish()
        with self.lock:
            return self._answer(self._post(do, arguments), do)

    def _post(self, do: str, arguments: dict[str, Any]) -> int:
        try:
            return self.channel.post({"do": do, **arguments})
        except ChannelClosedError:
            self.broken = True
            raise ServiceError(f"its process ended before {do!r}: {self.last_words()}") from None

    def _answer(self, number: int, do: str) -> Any:
        try:
            value = self.channel.answer(number, self.limit)
        except ChannelTimeoutError:
            self.broken = True
            raise ServiceError(f"no answer to {do!r} within {self.limit:g} s") from None
        except (ChannelClosedError, ProtocolError):
            self.broken = True
            raise ServiceError(f"its process ended at {do!r}: {self.last_words()}") from None
        if isinstance(value, dict) and "error" in value:
            raise ServiceError(str(value["error"]))
        return value

    def last_words(self) -> str:
        """The end of what it has printed."""
        text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "without a word"

    def stop(self) -> None:
        """End it."""
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class ServiceError(KernelkitError):
    """A process of the evaluator failed."""
