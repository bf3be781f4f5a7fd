"""From a path and a dataset to a diagnosis: which solution, which definition, which inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit.dataset.store import Dataset
from kernelkit.errors import FormatError, UsageError
from kernelkit.solutions.check import target

if TYPE_CHECKING:
    from kernelkit.dataset.definition import Definition
    from kernelkit.solutions.doctor.cases import Case
    from kernelkit.solutions.doctor.report import Diagnosis


SMALL_BYTES = 1 << 28


@dataclass(frozen=True)
class Request:
    """What to examine, on what, and for how long (seconds)."""

    path: Path
    device: str
    definition: str | None = None
    workload: str | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    timeout: float = 300.0  # of the solution's process
    seconds: float = 120.0  # of the search for causes


def consult(dataset: Dataset, request: Request) -> Diagnosis:
    """The diagnosis of the solution at `request.path`.

    Raises UsageError for a selection that is none, FormatError for a file that is no solution,
    ReferenceFailedError where the definition's reference fails.
    """
    solution = _solution(request.path)
    definition = _definition(dataset, solution, request.definition)
    from kernelkit.solutions.doctor import cases, examine
    from kernelkit.solutions.doctor.process import Job

    given = dict(request.axes)
    chosen = list(cases.small_cases(definition, given, request.device))
    if request.workload is not None:
        named = cases.workload_cases(dataset, definition, request.workload, request.device)
        chosen = [*named, *chosen]
    _few_threads(chosen, request.device)
    assert solution.spec is not None
    sources = solution.sources_for(definition)
    job = Job(definition, solution.spec, sources, request.device, request.timeout)
    return examine.examine(job, chosen, solution.name, request.seconds)


def _few_threads(chosen: list[Case], device: str) -> None:
    """One thread where tensors are tiny: they would only wait for the others."""
    import torch

    tensors = (v for case in chosen for v in case.inputs.values() if hasattr(v, "nbytes"))
    if device == "cpu" and sum(tensor.nbytes for tensor in tensors) < SMALL_BYTES:
        torch.set_num_threads(1)


def _solution(path: Path) -> target.Target:
    """The one solution at the path. Raises UsageError, FormatError."""
    paths = target.find(path)
    if len(paths) > 1:
        raise UsageError(
            "one solution at a time", received=f"{len(paths)} below {path}",
            allowed=", ".join(map(str, paths[:3])) + ", ...",
        )  # fmt: skip
    found = target.read(paths[0])
    if found.spec is None or not found.sources:
        reasons = "; ".join(finding.message for finding in found.findings)
        raise FormatError(
            f"{paths[0]}: no solution that can run: {reasons or 'it has no spec'}",
            next_step="check_solution.py shows all that is wrong with it",
        )
    return found


def _definition(dataset: Dataset, solution: target.Target, name: str | None) -> Definition:
    """The definition that the solution is for. Raises UsageError."""
    served = {d.name: d for d in solution.definitions(dataset.definitions())}
    if name is not None and name in served:
        return served[name]
    if name is None and len(served) == 1:
        return next(iter(served.values()))
    some = ", ".join(list(served)[:5])
    if name is None and served:
        raise UsageError("it serves several definitions", allowed=f"--definition NAME of: {some}")
    raise UsageError(
        "the solution's definition is not in the dataset" if name is None else
        "the solution does not serve this definition",
        received=name or ", ".join(solution.patterns), allowed=some,
    )  # fmt: skip
