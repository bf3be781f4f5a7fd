"""The orchestrator's side of its processes: start them, ask them, freeze them, end them.

This module and all that the orchestrator imports load no torch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kernelkit import places
from kernelkit.bench.isolation import sandbox
from kernelkit.bench.isolation.channel import (
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    ProtocolError,
)
from kernelkit.bench.isolation.zygote import children
from kernelkit.dataset.trace import Status
from kernelkit.errors import KernelkitError, MissingDependencyError

START_SECONDS = 180.0  # importing torch on a busy machine or a slow disk
LOG_BYTES = 4000  # kept of each end of what a solution prints
QUEUE_SECONDS = 0.04
MEMORY_SHARE = 0.6  # of the machine's memory, for a solution's process


class Service:
    """A trusted process of the evaluator, and the channel to it."""

    def __init__(self, module: str, log: Path) -> None:
        own, other = socket.socketpair()
        os.set_inheritable(other.fileno(), True)
        environment = {**os.environ, "PYTHONPATH": _python_path(), "PYTHONUNBUFFERED": "1"}
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=log.parent,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )
        other.close()
        self.channel = Channel(own)
        self.limit = START_SECONDS
        self.broken = False
        self.lock = threading.Lock()  # one request at a time

    def ask(self, do: str, **arguments: Any) -> Any:
        """Ask it. Raises ServiceError with what it says, or where it does not answer."""
        try:
            with self.lock:
                value = self.channel.ask({"do": do, **arguments}, self.limit)
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


def _python_path() -> str:
    """The path for imports: kernelkit's own, then the caller's."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(places.LIBRARY), *([given] if given else [])])


class Nursery:
    """Makes the processes of solutions: each forked from one that has torch loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.known: set[int] = set()  # the processes that it has made
        self.replacing = threading.Lock()
        self.service = self._start()

    def _start(self) -> Service:
        if not sys.platform.startswith(("linux", "darwin")):
            raise MissingDependencyError("needs Linux or macOS", received=sys.platform)
        return Service("kernelkit.bench.isolation.zygote", self.folder / "zygote.log")

    def fork(self, order: dict[str, Any]) -> SolutionProcess:
        """A new process, in a new folder of its own. Raises ServiceError."""
        with self.service.lock:
            self.count += 1
            number = self.count
        folder = self.folder / f"{number:04d}"
        user = sandbox.user_for(os.getpid() * 7 + number, self.folder)
        for part in (folder, folder / "tmp", folder / "code", folder / ".cache"):
            part.mkdir()
            if user is not None:
                os.chown(part, user, user)
        own, other = socket.socketpair()
        reading, writing = os.pipe()
        try:
            pid = self._fork({**order, "folder": str(folder), "user": user}, other, writing)
        finally:
            other.close()
            os.close(writing)
        self.known.add(pid)
        return SolutionProcess(self, pid, folder, user, Channel(own), reading)

    def _fork(self, order: dict[str, Any], other: socket.socket, writing: int) -> int:
        """The process's number. A nursery that is gone is replaced once."""
        for attempt in (1, 2):
            service = self.service
            try:
                with service.lock:
                    service.channel.send({"do": "fork", "order": order, "request": 0})
                    socket.send_fds(service.channel.socket, [b"."], [other.fileno(), writing])
                    return int(service.channel.receive(START_SECONDS)["value"])
            except (ChannelClosedError, ProtocolError, ChannelTimeoutError, OSError) as error:
                if attempt == 2:
                    text = f"no process can be started: {service.last_words()} ({error})"
                    raise ServiceError(text) from None
                with self.replacing:
                    if self.service is service:
                        service.stop()
                        self.service = self._start()
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End the nursery and every process it has made."""
        with contextlib.suppress(ServiceError):
            self.service.ask("sweep", pids=None)
        self.service.stop()


class SolutionProcess:
    """One process that runs a solution: nothing it says is trusted."""

    def __init__(
        self, nursery: Nursery, pid: int, folder: Path, user: int | None, channel: Channel,
        log: int,
    ) -> None:  # fmt: skip
        self.nursery, self.pid, self.folder, self.user = nursery, pid, folder, user
        self.channel = channel
        self.frozen: list[int] = []
        self.memory_limit = MEMORY_SHARE * _machine_bytes()
        self.printed = Capture(log)
        self.ended: dict[str, Any] | None = None
        self.queue_seconds = QUEUE_SECONDS  # of a batch, before the gate opens anyhow

    def write_sources(self, sources: list[tuple[str, str]]) -> None:
        """Unpack sources into `code`, readable by the process."""
        for path, content in sources:
            target = self.folder / "code" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
        for part in (self.folder / "code").rglob("*"):
            if self.user is not None:
                os.chown(part, self.user, self.user)

    def ask_while(
        self, do: str, seconds: float, act: Callable[[], None], after: float, **arguments: Any
    ) -> Any:
        """Ask it; where it has not answered `after` seconds, `act` while waiting."""
        start = time.monotonic()

        def watch() -> None:
            if time.monotonic() - start > after:
                act()
            self._watch()

        return self.ask(do, seconds, watch, **arguments)

    def ask(
        self, do: str, seconds: float, watch: Callable[[], None] | None = None, **arguments: Any
    ) -> Any:
        """Ask it. Raises SolutionFailedError: out of time, out of turn, out of memory, gone."""
        self.thaw()
        try:
            return self.channel.ask({"do": do, **arguments}, seconds, watch or self._watch)
        except ChannelTimeoutError:
            text = f"killed: no end of {do!r} within {seconds:g} s"
            raise SolutionFailedError(Status.TIMEOUT, text) from None
        except ProtocolError as error:
            text = f"killed: spoke out of turn ({error})"
            raise SolutionFailedError(Status.RUNTIME_ERROR, text) from None
        except ChannelClosedError:
            code = self.kill()["code"]
            raise SolutionFailedError(Status.RUNTIME_ERROR, _death(code, do)) from None

    def _watch(self) -> None:
        """While waiting: is it alive, running, and within its memory?"""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_bytes().decode("ascii", "replace")
        except OSError:
            raise ChannelClosedError("gone") from None
        state = text.rpartition(")")[2].split()[0]
        if state in "ZX":
            raise ChannelClosedError("dead")
        if state == "T":  # it has stopped itself: that would look like a slow call
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGCONT)
        used = sum(_resident_bytes(pid) for pid in self._family())
        if used > self.memory_limit:
            text = f"killed: uses {used / 2**30:.1f} GiB of memory"
            raise SolutionFailedError(Status.RUNTIME_ERROR, text)

    def _family(self) -> Iterator[int]:
        """The process and all that descends from it; also processes that have left their parents:
        these are the nursery's children now."""
        strays = set(children(self.nursery.service.process.pid)) - self.nursery.known
        waiting = [self.pid, *strays]
        while waiting:
            pid = waiting.pop()
            yield pid
            waiting += children(pid)

    def freeze(self) -> None:
        """Stop it and all its descendants, at once: what it did not do by now is not done."""
        self.frozen = []
        for _ in range(3):  # until no new descendant turns up
            fresh = [pid for pid in self._family() if pid not in self.frozen]
            for pid in fresh:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
            self.frozen += fresh
            if len(fresh) <= 1:
                return

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self.frozen:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)
        self.frozen = []

    def kill(self) -> dict[str, Any]:
        """End it, its group, what it has left; remove its folder. Says how it ended."""
        kill_all([self])
        assert self.ended is not None
        return self.ended


def kill_all(processes: list[SolutionProcess]) -> None:
    """End some processes of one nursery, all at once; see `SolutionProcess.kill`."""
    living = [process for process in processes if process.ended is None]
    if not living:
        return
    swept: dict[str, Any] = {"codes": {}, "leftovers": 0, "alive": 0}
    with contextlib.suppress(ServiceError):
        users = [process.user for process in living if process.user is not None]
        swept = living[0].nursery.service.ask("sweep", pids=[p.pid for p in living], users=users)
    for process in living:
        process.ended = {**swept, "code": swept["codes"].get(str(process.pid))}
        process.channel.close()
        process.printed.close()
        remove(process.folder)


def remove(folder: Path) -> None:
    """Remove a folder, however deep: what Python cannot, the system's rm can."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        subprocess.run(["rm", "-rf", str(folder)], check=False, capture_output=True)


class SolutionFailedError(Exception):
    """The solution's process gave no answer: `status` is the verdict."""

    def __init__(self, status: Status, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class Capture:
    """What a solution prints: the first and the last of it, however much there is."""

    def __init__(self, descriptor: int) -> None:
        self.head, self.tail, self.size = b"", b"", 0
        self.descriptor = descriptor
        self.thread = threading.Thread(target=self._drain, daemon=True)
        self.thread.start()

    def _drain(self) -> None:
        with open(self.descriptor, "rb", buffering=0) as pipe:
            while part := pipe.read(1 << 16):
                self.size += len(part)
                room = LOG_BYTES - len(self.head)
                self.head += part[:room] if room > 0 else b""
                self.tail = (self.tail + part)[-LOG_BYTES:]

    def close(self) -> None:
        """Wait a moment for the rest."""
        self.thread.join(1.0)

    def text(self) -> str:
        """What is kept."""
        if self.size <= 2 * LOG_BYTES:
            rest = self.size - len(self.head)
            whole = self.head + (self.tail[-rest:] if rest > 0 else b"")
            return whole.decode("utf-8", "replace").strip()
        left_out = self.size - 2 * LOG_BYTES
        middle = f"\n[... {left_out} bytes left out ...]\n".encode()
        return (self.head + middle + self.tail).decode("utf-8", "replace").strip()


def _death(code: int | None, do: str) -> str:
    if code is None:
        return f"the process ended at {do!r}"
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"the process was ended at {do!r} by {names.get(-code, f'signal {-code}')}"
    return f"the process ended itself at {do!r} with exit code {code}"


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def now_ms() -> float:
    """The orchestrator's clock, in milliseconds."""
    return time.perf_counter_ns() / 1e6
