"""A solution's process as the orchestrator sees it: ask it, freeze it, end it.

This module and all that the orchestrator imports load no torch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench.isolation.channel import (
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    ProtocolError,
)
from kernelkit.bench.isolation.printed import Capture
from kernelkit.bench.isolation.service import ServiceError
from kernelkit.bench.isolation.zygote import children
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    from kernelkit.bench.isolation.nursery import Nursery

QUEUE_SECONDS = 0.04  # for queueing a batch
WAITING_SECONDS = 0.004  # until a process that will wait for the device does so
MEMORY_SHARE = 0.6  # of the machine's memory, for a solution's process


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
        self.waits = 0  # batches in a row for which it had to

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
        """Ask it; where it has not answered `after` seconds, `act` once, then wait on."""
        return self._ask(do, seconds, arguments, act, after)

    def ask(self, do: str, seconds: float, **arguments: Any) -> Any:
        """Ask it. Raises SolutionFailedError: out of time, out of turn, out of memory, gone."""
        return self._ask(do, seconds, arguments, None, 0.0)

    def _ask(
        self, do: str, seconds: float, arguments: dict[str, Any], act: Callable[[], None] | None,
        after: float,
    ) -> Any:  # fmt: skip
        self.thaw()
        try:
            number = self.channel.post({"do": do, **arguments})
            if act is not None and not self.channel.ready(after):
                act()
            return self.channel.answer(number, seconds, self._watch)
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
        used = sum(_resident_bytes(pid) for pid in self._family(*self._strays()))
        if used > self.memory_limit:
            text = f"killed: uses {used / 2**30:.1f} GiB of memory"
            raise SolutionFailedError(Status.RUNTIME_ERROR, text)

    def _family(self, *others: int) -> Iterator[int]:
        """The process, `others`, and all that descends from them."""
        waiting = [self.pid, *others]
        while waiting:
            pid = waiting.pop()
            yield pid
            waiting += children(pid)

    def _strays(self) -> set[int]:
        """Processes that have left their parents: they are the nursery's children now. Where each
        solution has a user of its own, only those of this one."""
        strays = set(children(self.nursery.service.process.pid)) - self.nursery.known
        return {pid for pid in strays if self.user in (None, _user(pid))}

    def note_wait(self, waited: bool) -> None:
        """Say whether the gate had to be opened for it: twice in a row, and its calls wait for the
        device, so that the gate opens soon from then on. Once may be a compilation."""
        self.waits = self.waits + 1 if waited else 0
        if self.waits_for_device:
            self.queue_seconds = WAITING_SECONDS

    @property
    def waits_for_device(self) -> bool:
        """Whether its calls wait for the device, or take longer to queue than there is time."""
        return self.waits >= 2

    def freeze(self) -> None:
        """Stop it and all its descendants, at once: what it did not do by now is not done. What has
        left its parents is ended: nobody could tell for whom it would have to go on later."""
        self.frozen = []
        for _ in range(3):  # until no new descendant turns up
            strays = self._strays()
            fresh = [pid for pid in self._family(*strays) if pid not in self.frozen]
            for pid in fresh:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL if pid in strays else signal.SIGSTOP)
            self.frozen += [pid for pid in fresh if pid not in strays]
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
    living[0].nursery.users.take_back([process.user for process in living])
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


def _user(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/status").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Uid:")), -1)


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def now_ms() -> float:
    """The orchestrator's clock, in milliseconds."""
    return time.perf_counter_ns() / 1e6
