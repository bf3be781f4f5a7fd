"""Evaluate solutions on a workload: reference first, then each solution, then the verdict.

The reference's worker makes the inputs and the expected outputs and never sees a solution; a
solution's worker gets sources and inputs; this process reads tensors and numbers from files, never
code or pickles, and speaks the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kernelkit.bench import process, verdict
from kernelkit.bench.job import LOG, Job, Settings
from kernelkit.bench.selection import Plan, Task, mark
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, is_lfs_pointer
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import FormatError, KernelkitError

DRAWS = 400  # calls of a sampling op; a time limit usually ends them sooner


class ReferenceFailedError(KernelkitError):
    """The reference itself gave no result: nothing is said about the solutions."""


def run_plan(dataset: Dataset, plan: Plan, settings: Settings) -> Iterator[Trace | str]:
    """Run every pair and append its trace at once; a str tells why a workload gave none."""
    for task in plan.tasks:
        try:
            for trace in evaluate(dataset, task, settings):
                dataset.append_traces(task.definition, [trace])
                yield trace
        except KernelkitError as error:
            yield str(error)


def evaluate(dataset: Dataset, task: Task, settings: Settings) -> Iterator[Trace]:
    """A trace for each solution of the task. Raises ReferenceFailedError, FormatError."""
    with TemporaryDirectory(prefix="kernelkit-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        reference = _reference(dataset, task, settings, folder)
        for number, solution in enumerate(task.solutions):
            yield _solution(task, solution, settings, folder, number, reference)


def _reference(dataset: Dataset, task: Task, settings: Settings, folder: Path) -> dict[str, Any]:
    """Run the reference; its result document. Leaves inputs and outputs in `folder`."""
    code = folder / "reference_code"
    code.mkdir()
    (code / "reference.py").write_text(task.definition.reference, encoding="utf-8")
    job = _job(task, settings, folder, "reference", code, "reference.py", "run", passing=False)
    job = Job(
        **{
            **vars(job),
            "definition": task.definition.to_json(),
            "axes": dict(task.workload.axes),
            "given": given_inputs(dataset, task.workload),
            "seed": settings.seed,
        }
    )
    ended = process.run(job.write(), settings.timeout)
    result = verdict.read_result(Path(job.folder))
    if ended.timed_out:
        what = f"no result within {settings.timeout:g} s"
    elif not result.get("ok"):
        what = result.get("error") or f"its process ended with {ended.code}"
    else:
        return result
    raise ReferenceFailedError(f"{task.definition.name}: the reference failed: {what}")


def _solution(
    task: Task,
    solution: Solution,
    settings: Settings,
    folder: Path,
    number: int,
    reference: dict[str, Any],
) -> Trace:
    code = folder / f"solution{number}_code"
    for source in solution.sources:
        path = code / source.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.content, encoding="utf-8")
    spec = solution.spec
    job = _job(
        task, settings, folder, f"solution{number}", code, spec.entry_file, spec.entry_symbol,
        passing=spec.destination_passing_style,
    )  # fmt: skip
    ended = process.run(job.write(), settings.timeout)
    own = Path(job.folder)
    result = verdict.read_result(own)
    found = verdict.failure(ended, result, own) or verdict.judge(task, settings, folder, own)
    head = f"{mark(solution, settings.device)}\nseed {settings.seed}"
    parts = [head, found.message, *verdict.notes(result), verdict.tail(own / LOG)]
    return Trace(
        definition=task.definition.name,
        workload=task.workload,
        solution=solution.name,
        evaluation=verdict.make_evaluation(
            task, settings, found, reference, result, "\n".join(filter(None, parts))
        ),
    )


def _job(
    task: Task,
    settings: Settings,
    folder: Path,
    name: str,
    code: Path,
    file: str,
    symbol: str,
    *,
    passing: bool,
) -> Job:
    own = folder / name
    own.mkdir()
    definition, axes = task.definition, dict(task.workload.axes)
    outputs = {
        output: (_shape(definition, output, axes), spec.dtype.value)
        for output, spec in definition.outputs.items()
    }
    return Job(
        role="reference" if name == "reference" else "solution",
        folder=str(own),
        inputs_folder=str(folder / "inputs"),
        code_folder=str(code),
        entry_file=file,
        entry_symbol=symbol,
        destination_passing=passing,
        input_names=list(definition.inputs),
        outputs=outputs,
        device=settings.device,
        sets=settings.sets,
        warmup=settings.warmup,
        iterations=settings.iterations,
        max_seconds=settings.max_seconds,
        draws=DRAWS if verdict.tolerance_of(definition).samples else 0,
    )


def _shape(definition: Definition, output: str, axes: dict[str, int]) -> list[int] | None:
    shape = definition.shape_of(output, axes)
    return None if shape is None else list(shape)


def given_inputs(dataset: Dataset, workload: Workload) -> dict[str, Any]:
    """The workload's scalars and the places of its recorded tensors. Raises FormatError."""
    found: dict[str, Any] = {}
    for name, source in workload.inputs.items():
        if isinstance(source, ScalarInput):
            found[name] = {"value": source.value}
        elif isinstance(source, SafetensorsInput):
            path = (dataset.root / source.path).resolve()
            if not path.is_relative_to(dataset.root.resolve()):
                raise FormatError("a blob's path leaves the dataset", received=source.path)
            if not path.is_file():
                raise FormatError("a workload's blob is absent", received=source.path)
            if is_lfs_pointer(path):
                raise FormatError(
                    "a blob is a Git-LFS pointer", received=source.path, next_step="git lfs pull"
                )
            found[name] = {"path": str(path), "key": source.tensor_key}
    return found
