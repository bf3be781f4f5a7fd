"""A run on one device, or on all GPUs of a machine: each takes definitions as it becomes free."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterator

from kernelkit.bench.evaluation import by_definition, run_plan
from kernelkit.bench.selection import Plan
from kernelkit.bench.settings import Settings
from kernelkit.bench.tools import foreign
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace

Found = Trace | str


def run(
    dataset: Dataset, plan: Plan, settings: Settings, devices: list[str], target: Dataset,
    engine: str = "kernelkit",
) -> Iterator[Found]:  # fmt: skip
    """Run every pair of the plan; results as they come. See `evaluation.run_plan`, `foreign`."""
    runner = run_plan if engine == "kernelkit" else foreign.run
    if len(devices) == 1:
        yield from runner(dataset, plan, dataclasses.replace(settings, device=devices[0]), target)
        return
    waiting: queue.SimpleQueue[Plan] = queue.SimpleQueue()
    for _, tasks in by_definition(plan):
        waiting.put(Plan(tasks))
    results: queue.SimpleQueue[Found | BaseException | None] = queue.SimpleQueue()

    def work(device: str) -> None:
        own = dataclasses.replace(settings, device=device)
        try:
            while True:
                part = waiting.get_nowait()
                for found in runner(dataset, part, own, target):
                    results.put(found)
        except queue.Empty:
            results.put(None)
        except BaseException as error:  # whatever it raises
            results.put(error)

    for device in devices:
        threading.Thread(target=work, args=(device,), daemon=True).start()
    running = len(devices)
    while running:
        found = results.get()
        if isinstance(found, BaseException):
            raise found
        if found is None:
            running -= 1
        else:
            yield found
