"""`bench.py --profile`: each solution that has passed, profiled once on its lightest workload."""

from __future__ import annotations

import tempfile
from pathlib import Path

from kernelkit.bench.selection import Plan
from kernelkit.bench.tools import profile_ncu
from kernelkit.bench.tools.call_driver import lightest, target_of
from kernelkit.bench.tools.profile_ncu import ProfileReport
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Status, Trace


def profile(
    dataset: Dataset, plan: Plan, traces: list[Trace], device: str
) -> dict[str, ProfileReport]:
    """The reports by solution. What cannot be profiled has a report that says why."""
    passed: dict[str, set[str]] = {}
    for trace in traces:
        if trace.solution and trace.evaluation and trace.evaluation.status is Status.PASSED:
            passed.setdefault(trace.solution, set()).add(trace.workload.uuid)
    tasks = {task.workload.uuid: task for task in plan.tasks}
    solutions = {solution.name: solution for task in plan.tasks for solution in task.solutions}
    found = {}
    for name, uuids in passed.items():
        definition = next(iter(tasks[uuid].definition for uuid in uuids))
        workload = lightest(definition, [tasks[uuid].workload for uuid in sorted(uuids)])
        with tempfile.TemporaryDirectory(prefix="kernelkit-") as folder:
            target = target_of(dataset, definition, workload, solutions[name], Path(folder), device)
            found[name] = profile_ncu.run(target)
    return found
