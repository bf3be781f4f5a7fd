"""A plan as a JSON document, for another process or another machine."""

from __future__ import annotations

from typing import Any

from kernelkit.bench.selection import Plan, Task
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.workload import Workload


def pack(plan: Plan) -> dict[str, Any]:
    """The plan's tasks; each definition and solution once."""
    solutions = {s.name: s.to_json() for task in plan.tasks for s in task.solutions}
    return {
        "definitions": {t.definition.name: t.definition.to_json() for t in plan.tasks},
        "solutions": solutions,
        "tasks": [
            {"definition": task.definition.name, "workload": task.workload.to_json(),
             "solutions": [solution.name for solution in task.solutions]}
            for task in plan.tasks
        ],
    }  # fmt: skip


def unpack(document: dict[str, Any]) -> Plan:
    """The plan of a document that `pack` has made."""
    definitions = {
        name: Definition.model_validate(plain) for name, plain in document["definitions"].items()
    }
    solutions = {
        name: Solution.model_validate(plain) for name, plain in document["solutions"].items()
    }
    return Plan([
        Task(definitions[task["definition"]], Workload.model_validate(task["workload"]),
             [solutions[name] for name in task["solutions"]])
        for task in document["tasks"]
    ])  # fmt: skip
