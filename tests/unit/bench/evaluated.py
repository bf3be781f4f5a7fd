"""Whole evaluations of a small norm: a right solution, and how to ask for its verdict."""

from __future__ import annotations

from kernelkit.bench.evaluation import Evaluator
from kernelkit.bench.selection import Task
from kernelkit.bench.settings import Settings
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.trace import Evaluation, Trace
from kernelkit.dataset.workload import RandomInput, Workload
from kernelkit.ops import rmsnorm

DEFINITION = rmsnorm.FAMILY.definition(64, 1e-5)
RIGHT = """
import torch.nn.functional as F

def run(hidden_states, weight):
    x = F.rms_norm(hidden_states.float(), (hidden_states.shape[-1],), weight.float(), 1e-5)
    return x.to(hidden_states.dtype)
"""
QUICK = Settings(warmup=2, iterations=4, trials=2, max_seconds=2.0, timeout=60.0)


def solution_of(
    text: str, name: str = "s", definition: Definition = DEFINITION, **spec: object
) -> Solution:
    """A Python solution of one file, with changes of its spec."""
    return Solution.model_validate({
        "name": name, "definition": definition.name, "author": "tests",
        "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
                 "destination_passing_style": False, **spec},
        "sources": [{"path": "main.py", "content": text}],
    })  # fmt: skip


def task_of(
    *solutions: Solution, definition: Definition = DEFINITION, axes: dict[str, int] | None = None,
    uuid: str = "u", **inputs: object,
) -> Task:  # fmt: skip
    """A workload for these solutions; inputs that are not given are drawn."""
    sources = {name: RandomInput() for name in definition.inputs}
    work = Workload(uuid=uuid, axes=axes or {"batch_size": 5}, inputs={**sources, **inputs})
    return Task(definition, work, list(solutions))


def run_tasks(evaluator: Evaluator, *tasks: Task) -> list[Trace | str]:
    """The traces of tasks of one definition; words where there is none."""
    return list(evaluator.definition(tasks[0].definition, list(tasks)))


def verdict_of(evaluator: Evaluator, text: str, **spec: object) -> Evaluation:
    """What comes of a program on the norm's workload."""
    (trace,) = run_tasks(evaluator, task_of(solution_of(text, **spec)))
    assert isinstance(trace, Trace), trace
    assert trace.evaluation is not None
    return trace.evaluation
