"""A run on the devices of this machine: on one, or on many, each with a process of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from kernelkit.bench.evaluation import VERIFIER_SECONDS, run_plan, written
from kernelkit.bench.isolation.service import START_SECONDS
from kernelkit.bench.selection import Plan
from kernelkit.bench.settings import Settings
from kernelkit.bench.spread.crew import Crew, Found, Worker, spread
from kernelkit.bench.spread.local import Deputy
from kernelkit.dataset.store import Dataset

SILENT_CALLS = 3  # calls that may take their whole limit between two traces: build, first, timed


def run(
    dataset: Dataset, plan: Plan, settings: Settings, devices: list[str], target: Dataset,
    name: str = "kernelkit",
) -> Iterator[Found]:  # fmt: skip
    """Run every pair of the plan with the engine of that name; results as they come.

    A trace is appended to `target` before it is yielded; a str tells why there is none. Raises
    what makes the whole run useless: a missing package, a trace that cannot be written.
    """
    if len(devices) == 1:
        own = dataclasses.replace(settings, device=devices[0])
        yield from run_plan(dataset, plan, own, target, name)
        return

    def open_device(device: str) -> Worker:
        return Deputy(dataset, dataclasses.replace(settings, device=device), name)

    silent = START_SECONDS + SILENT_CALLS * (settings.timeout + VERIFIER_SECONDS)
    yield from written(spread(plan, Crew(devices, open_device, silent)), plan, target)
