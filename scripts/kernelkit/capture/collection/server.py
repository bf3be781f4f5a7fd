"""An SGLang server of our own: its port, its readiness, its end."""

from __future__ import annotations

import json
import os
import random
import shlex
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kernelkit.capture.collection import driving
from kernelkit.capture.host import Host
from kernelkit.capture.processes.group import Group
from kernelkit.capture.sglang_pass import running
from kernelkit.capture.sglang_pass.diagnosis import Diagnosis, diagnose
from kernelkit.dataset import atomic
from kernelkit.errors import DeadlineError, KernelkitError, UsageError

PROGRAM = running.PROGRAM.with_name("server_main.py")
POLL_S = 0.5
HEALTH_S = 5.0
STOP_GRACE_S = 8.0
PORTS = range(20000, 32768)


class ServerDiedError(KernelkitError):
    """The server ended by itself; `diagnosis` says why."""

    def __init__(self, found: Diagnosis, log: Path) -> None:
        self.diagnosis = found
        super().__init__(f"the server ended: {found.kind}", received=found.line,
                         next_step=f"{found.hint}; log: {log}")  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """A command and the address at which it will answer."""

    command: tuple[str, ...]
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now.

    Below those that the system hands out, which go up to 60999: SGLang takes ten thousand more for
    a second port, and ends where that is above 65535.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with closing(socket.socket()) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise UsageError("no free port", received=f"{PORTS.start} to {PORTS.stop - 1} on {host}")


def require_free(host: str, port: int) -> None:
    """Raises UsageError where somebody listens on the port."""
    with closing(socket.socket()) as probe:
        probe.settimeout(2)
        if probe.connect_ex((host, port)) == 0:
            raise UsageError(
                "port in use", received=f"{host}:{port}",
                next_step="leave --port out for a free one, or name another",
            )  # fmt: skip


def own_launch(
    host: Host, engine: Mapping[str, Any], model_path: str, folder: Path, port: int | None
) -> Launch:
    """The command of our server program, whose order is written to `folder`."""
    number = port or free_port()
    order = {"engine": {**engine, "host": "127.0.0.1", "port": number}, "model_path": model_path}
    path = folder / "server.json"
    atomic.write_text(path, json.dumps(order, indent=2) + "\n")
    return Launch((*host.python, str(PROGRAM), str(path)), "127.0.0.1", number)


def given_launch(text: str) -> Launch:
    """A command line of the user's, with its --port (30000 where it has none) and --host."""
    words = shlex.split(text)
    if not words:
        raise UsageError("an empty launch command")
    try:
        port = int(_option(words, "--port") or 30000)
    except ValueError:
        raise UsageError("no port number in the launch command", received=text) from None
    listens = _option(words, "--host") or "127.0.0.1"
    return Launch(tuple(words), "127.0.0.1" if listens == "0.0.0.0" else listens, port)


def given_sizes(text: str) -> tuple[int, int]:
    """The (TP, EP) that a command line of the user's starts its server with; 1 where it is silent.

    Raises UsageError for what is no number.
    """
    words = shlex.split(text)
    found = []
    for names in (
        ("--tp", "--tp-size", "--tensor-parallel-size"),
        ("--ep", "--ep-size", "--expert-parallel-size"),
    ):
        said = next((value for name in names if (value := _option(words, name))), "1")
        if not said.isdigit() or int(said) < 1:
            raise UsageError(f"no number for {names[0]} in the launch command", received=said)
        found.append(int(said))
    return found[0], found[1]


def _option(words: Sequence[str], name: str) -> str | None:
    for position, word in enumerate(words):
        if word == name and position + 1 < len(words):
            return words[position + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


class Server:
    """A running server. Used as a context it is always ended, whole."""

    def __init__(self, launch: Launch, *, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        require_free(launch.host, launch.port)
        self.launch = launch
        self.group = Group(
            launch.command, log=log, env={**os.environ, **env}, cwd=cwd, grace_s=STOP_GRACE_S
        )

    def wait_ready(self, timeout_s: float, watch: Callable[[], None] = lambda: None) -> float:
        """Seconds until /health answered 200.

        Raises ServerDiedError as soon as the program ends, DeadlineError after `timeout_s`.
        """
        started = time.monotonic()
        while driving.status(f"{self.launch.url}/health", HEALTH_S) != 200:
            self.require_alive()
            watch()
            if time.monotonic() - started > timeout_s:
                raise DeadlineError(
                    "the server did not get ready", received=f"{timeout_s:g} s",
                    next_step=f"a larger --server-timeout; log: {self.group.log}",
                )  # fmt: skip
            time.sleep(POLL_S)
        return time.monotonic() - started

    def require_answer(self) -> None:
        """Raises ServerDiedError where /health is silent and the program ends."""
        deadline = time.monotonic() + STOP_GRACE_S + 2  # the guard ends its workers first
        while driving.status(f"{self.launch.url}/health", HEALTH_S) == 0:
            self.require_alive()
            if time.monotonic() > deadline:
                return
            time.sleep(POLL_S)

    def require_alive(self) -> None:
        """Raises ServerDiedError where the program has ended."""
        code = self.group.poll()
        if code is not None:
            raise ServerDiedError(diagnose(self.group.output(), code), self.group.log)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.group.stop()
