"""Makes the processes of solutions, by asking the zygote to fork. Loads no torch."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from kernelkit.bench.isolation import sandbox
from kernelkit.bench.isolation.channel import (
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    ProtocolError,
)
from kernelkit.bench.isolation.processes import SolutionProcess
from kernelkit.bench.isolation.service import START_SECONDS, Service, ServiceError
from kernelkit.errors import MissingDependencyError


class Nursery:
    """Makes the processes of solutions: each forked from one that has torch loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.known: set[int] = set()  # the processes that it has made
        self.replacing = threading.Lock()
        self.users = sandbox.Users()
        self.service = self._start()

    def _start(self) -> Service:
        if not sys.platform.startswith(("linux", "darwin")):
            raise MissingDependencyError("needs Linux or macOS", received=sys.platform)
        module, log = "kernelkit.bench.isolation.zygote", self.folder / "zygote.log"
        return Service(module, log, sandbox.nursery_environment())

    def fork(self, order: dict[str, Any]) -> SolutionProcess:
        """A new process, in a new folder of its own. Raises ServiceError."""
        with self.service.lock:
            self.count += 1
            number = self.count
        folder = self.folder / f"{number:04d}"
        user = self.users.lend(number, self.folder)
        for part in (folder, folder / "tmp", folder / "code", folder / ".cache"):
            part.mkdir()
            if user is not None:
                os.chown(part, user, user)
        own, other = socket.socketpair()
        reading, writing = os.pipe()
        try:
            pid = self._fork({**order, "folder": str(folder), "user": user}, other, writing)
        except ServiceError:
            self.users.take_back([user])
            raise
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
        self.users.close()
