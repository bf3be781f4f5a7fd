"""Several workers on one plan: one that fails, hangs or is slow stops no other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from kernelkit import cli
from kernelkit.bench.evaluation import Results
from kernelkit.bench.selection import Plan
from kernelkit.bench.spread.shares import Shares
from kernelkit.dataset.trace import Trace
from kernelkit.errors import MissingDependencyError, UsageError

Found = Trace | str
STOP_SECONDS = 20.0  # for all workers to end
LOOK_SECONDS = 0.5  # between looks for devices that are silent


class Worker(Protocol):
    """What evaluates on a device."""

    def run(self, plan: Plan) -> Iterator[Found | None]:
        """Run a plan; None: it has begun. Raises KernelkitError where it cannot go on."""

    def stop(self) -> None:
        """End it, from any thread; a `run` under way raises."""


@dataclass
class Crew:
    """Devices, and how each gets its worker. `alike`: see `Shares`."""

    devices: list[str]
    open: Callable[[str], Worker]
    silent_seconds: float = float("inf")  # without a result, once at work: it hangs
    alike: bool = False


def in_order(plan: Plan, done: list[Found]) -> tuple[list[Trace], list[str]]:
    """Traces and texts in the plan's order, whoever was faster."""
    names = list(dict.fromkeys(task.definition.name for task in plan.tasks))
    about = {name: rank for rank, name in enumerate(names)}
    pairs = [(t.definition.name, t.workload.uuid, s.name) for t in plan.tasks for s in t.solutions]
    rank = {pair: number for number, pair in enumerate(pairs)}
    traces = [item for item in done if isinstance(item, Trace)]
    texts = [item for item in done if isinstance(item, str)]
    return (
        sorted(traces, key=lambda t: rank[t.definition, t.workload.uuid, t.solution or ""]),
        sorted(texts, key=lambda text: about.get(text.partition(":")[0], len(about))),
    )


def spread(plan: Plan, crew: Crew) -> Results:
    """Run a plan on several devices; what no device could do is told at the end of its tries."""
    flock = _Flock(crew, Shares(plan, crew.devices, alike=crew.alike))
    try:
        yield from flock.results()
    finally:
        flock.stop()


@dataclass
class _Flock:
    """A thread for each device, and what comes of them."""

    crew: Crew
    shares: Shares
    said: queue.SimpleQueue[tuple[str, Found | BaseException | None]] = field(
        default_factory=queue.SimpleQueue
    )
    running: set[str] = field(default_factory=set)
    workers: dict[str, Worker] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)  # of those at work: when they last spoke

    def results(self) -> Iterator[Found]:
        """What comes, until all threads have ended, but those of devices that are given up."""
        self.running = set(self.crew.devices)
        for device in self.crew.devices:
            threading.Thread(target=self._work, args=(device,), daemon=True).start()
        while self.running or not self.said.empty():
            try:
                device, found = self.said.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self._look()
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                self.running.discard(device)
            else:
                yield found

    def stop(self) -> None:
        """End all workers, at the same time."""
        self.shares.close()
        workers = list(self.workers.values())
        ending = [threading.Thread(target=worker.stop, daemon=True) for worker in workers]
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join(STOP_SECONDS)  # or never, where a driver holds a process for ever

    def _work(self, device: str) -> None:
        try:
            while (plan := self.shares.take(device)).tasks:
                self._lot(device, plan)
        except BaseException as error:  # it ends the run
            self.said.put((device, error))
        self.said.put((device, None))

    def _lot(self, device: str, plan: Plan) -> None:
        """Run what the device has taken."""
        said: list[str] = []
        why = ""
        try:
            if device not in self.workers:
                self.workers[device] = self.crew.open(device)
            for found in self.workers[device].run(plan):
                self.heard[device] = time.monotonic()
                if isinstance(found, str):
                    said.append(found)
                elif found is not None and self.shares.record(device, found):
                    self.said.put((device, found))
        except (UsageError, MissingDependencyError):
            raise
        except Exception as error:  # of this device: the others go on
            why = str(error) or type(error).__name__
            self._stop(device)
        finally:
            self.heard.pop(device, None)
        self._tell(device, *self.shares.finish(device, said, why))

    def _look(self) -> None:
        """Give up devices that have said nothing for too long."""
        limit = self.crew.silent_seconds
        for device, last in list(self.heard.items()):
            if time.monotonic() - last > limit:
                why = f"{device} gave no result for {limit:g} s"
                self._tell(device, *self.shares.retire(device, why))
                self.heard.pop(device, None)
                self.running.discard(device)
                threading.Thread(target=self._stop, args=(device,), daemon=True).start()

    def _stop(self, device: str) -> None:
        if (worker := self.workers.pop(device, None)) is not None:
            worker.stop()

    def _tell(self, device: str, told: list[str], notes: list[str]) -> None:
        for note in notes:
            cli.say(f"note: {note}")
        for text in told:
            self.said.put((device, text))
