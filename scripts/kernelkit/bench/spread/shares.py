"""Who has which part of a plan, what is done, and what is given back to be done elsewhere."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from kernelkit.bench.evaluation import MOST_SESSIONS, by_definition
from kernelkit.bench.selection import Plan, Task
from kernelkit.dataset.trace import Trace

MOST_TRIES = 3  # of a part, each on another device
MOST_BLAME = 3  # parts that failed on a device and went well on another: it is broken
LEAST_WORKLOADS = 4  # of a part: fewer are not worth another start of all processes


@dataclass
class Part:
    """Workloads of one definition, and where they were tried in vain."""

    name: str  # of the definition
    tasks: list[Task]
    tried: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)  # it failed, the last time


def split(plan: Plan, devices: int) -> Iterator[Part]:
    """A part for each definition; where there are fewer of them than devices, their workloads are
    parted, never a workload's solutions: these are compared, and stay on one device."""
    groups = list(by_definition(plan))
    pieces = -(-devices // max(1, len(groups)))
    for definition, tasks in groups:
        size = max(LEAST_WORKLOADS, -(-len(tasks) // pieces))
        for first in range(0, len(tasks), size):
            yield Part(definition.name, tasks[first : first + size])


class Shares:
    """See the module. Safe for threads.

    `alike`: devices are places in a queue, not things: a part may come to the same one again.
    """

    def __init__(self, plan: Plan, devices: list[str], *, alike: bool = False) -> None:
        self.alive, self.alike = list(devices), alike
        self.waiting = deque(split(plan, len(devices)))
        self.taken: dict[str, list[Part]] = {}
        self.done: set[tuple[str, str | None, str]] = set()
        self.blame: Counter[str] = Counter()
        self.changed = threading.Condition()

    def take(self, device: str) -> Plan:
        """What the device is to do next. Waits while another may give something back; without
        tasks: there is no more for it."""
        with self.changed:
            while device in self.alive and (self.waiting or self.taken):
                if fit := self._fit(device):
                    parts = fit[: max(1, min(MOST_SESSIONS, len(fit) // (2 * len(self.alive))))]
                    self.waiting = deque(part for part in self.waiting if part not in parts)
                    self.taken[device] = parts
                    return Plan([task for part in parts for task in part.tasks])
                self.changed.wait()
            return Plan()

    def record(self, device: str, trace: Trace) -> bool:
        """Note a trace; False where it comes too late: another device has been given the pair."""
        pair = trace.definition, trace.solution, trace.workload.uuid
        with self.changed:
            if device not in self.taken:
                return False
            new = pair not in self.done
            self.done.add(pair)
            return new

    def finish(self, device: str, said: list[str], why: str = "") -> tuple[list[str], list[str]]:
        """The device has ended what it took. `said` is what it told besides traces, `why` what
        stopped it.

        Returns what is to be told at the end, and notes on what is given back.
        """
        told: list[str] = []
        notes: list[str] = []
        with self.changed:
            parts = self.taken.pop(device, [])  # none: it was given up meanwhile
            for part in parts:
                part.tasks = self._left(part) or self._credit(part, notes)
            failed = [part for part in parts if part.tasks]
            names = {part.name for part in failed}
            told += [text for text in said if parts and _about(text) not in names]
            for part in failed:
                part.tried.append(device)
                part.why = [text for text in said if _about(text) == part.name]
                part.why = part.why or [f"{part.name}: {why or 'no trace and no reason'}"]
                if self._hopeful(part):
                    self.waiting.appendleft(part)  # soon, so that it is known who is at fault
                    notes.append(f"given back by {device}: {part.why[0]}")
                else:
                    told += self._last(part)
            told += self._hopeless()
            self.changed.notify_all()
        return list(dict.fromkeys(told)), notes

    def retire(self, device: str, why: str) -> tuple[list[str], list[str]]:
        """Give nothing to the device any more; what it has is given back. See `finish`."""
        with self.changed:
            if device in self.alive:
                self.alive.remove(device)
            return self.finish(device, [], why)

    def close(self) -> None:
        """Nothing more is to be done."""
        with self.changed:
            self.alive.clear()
            self.taken.clear()
            self.changed.notify_all()

    def _fit(self, device: str) -> list[Part]:
        """What the device may take. While others have yet to show whether it or the parts are at
        fault, nothing new: a broken device is the fastest of all."""
        failed = [p for p in (*self.waiting, *sum(self.taken.values(), [])) if device in p.tried]
        fit = [part for part in self.waiting if self._may(device, part)]
        if len(failed) >= MOST_BLAME and not self.alike:
            return [part for part in fit if part.tried]
        return fit

    def _may(self, device: str, part: Part) -> bool:
        return self.alike or device not in part.tried

    def _hopeful(self, part: Part) -> bool:
        some = any(self._may(device, part) for device in self.alive)
        return some and len(part.tried) < MOST_TRIES

    def _hopeless(self) -> list[str]:
        """What no device that is left may take."""
        lost = [part for part in self.waiting if not self._hopeful(part)]
        self.waiting = deque(part for part in self.waiting if part not in lost)
        return [text for part in lost for text in self._last(part)]

    def _last(self, part: Part) -> list[str]:
        texts = part.why or [f"{part.name}: no device is left for it"]
        where = f" (tried on {', '.join(part.tried)})" if part.tried and not self.alike else ""
        return [text + where for text in texts]

    def _left(self, part: Part) -> list[Task]:
        """The tasks of a part with the pairs that have no trace."""
        found = []
        for task in part.tasks:
            name, uuid = task.definition.name, task.workload.uuid
            left = [s for s in task.solutions if (name, s.name, uuid) not in self.done]
            if left:
                found.append(Task(task.definition, task.workload, left))
        return found

    def _credit(self, part: Part, notes: list[str]) -> list[Task]:
        """A part went well: where it was tried before, the device was at fault. No task is left."""
        for device in part.tried if not self.alike else ():
            self.blame[device] += 1
            if self.blame[device] == MOST_BLAME and device in self.alive and len(self.alive) > 1:
                self.alive.remove(device)
                notes.append(f"{device} is not used any more: what fails there goes well elsewhere")
        return []


def _about(text: str) -> str:
    return text.partition(":")[0]
