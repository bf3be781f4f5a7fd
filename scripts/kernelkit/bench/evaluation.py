"""Evaluate solutions on a workload: reference first, then each solution, then the verdict.

The reference's worker makes the inputs and the expected outputs and never sees a solution; a
solution's worker gets sources and inputs; this process reads tensors and numbers from files, never
code or pickles, and speaks the verdict.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from kernelkit import ops
from kernelkit.bench import process
from kernelkit.bench.compare import Verdict, check_form, compare, worst
from kernelkit.bench.draws import compare_draws
from kernelkit.bench.job import LOG, PHASE, RESULT, TENSORS, Job, set_folder
from kernelkit.bench.selection import Plan, Task, mark
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, is_lfs_pointer
from kernelkit.dataset.trace import (
    Correctness,
    Environment,
    Evaluation,
    Performance,
    Status,
    Trace,
)
from kernelkit.dataset.workload import SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import FormatError, KernelkitError
from kernelkit.ops.base import Tolerance

if TYPE_CHECKING:
    import torch

LOG_CHARACTERS = 2000
DRAWS = 400  # calls of a sampling op; a time limit usually ends them sooner


@dataclass(frozen=True)
class Settings:
    """How to run; times in seconds."""

    device: str = "cpu"
    sets: int = 2  # input sets with seeds that follow each other
    warmup: int = 3
    iterations: int = 20
    max_seconds: float = 5.0
    timeout: float = 120.0
    seed: int = 0


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
    result = _result(Path(job.folder))
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
    result = _result(own)
    verdict = _failure(ended, result, own) or _judge(task, settings, folder, own)
    head = f"{mark(solution, settings.device)}\nseed {settings.seed}"
    log = "\n".join(filter(None, [head, verdict.message, *_notes(result), _tail(own / LOG)]))
    return Trace(
        definition=task.definition.name,
        workload=task.workload,
        solution=solution.name,
        evaluation=_evaluation(task, settings, verdict, reference, result, log),
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
        draws=DRAWS if _tolerance(definition).samples else 0,
    )


def _shape(definition: Definition, output: str, axes: dict[str, int]) -> list[int] | None:
    shape = definition.shape_of(output, axes)
    return None if shape is None else list(shape)


def _tolerance(definition: Definition) -> Tolerance:
    return ops.family(definition.op_type).tolerance(definition)


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


def _failure(ended: process.Ended, result: dict[str, Any], own: Path) -> Verdict | None:
    """The verdict on a worker that left no outputs; None where it did."""
    phase = _tail(own / PHASE) or "start"
    if ended.timed_out:
        return Verdict(Status.TIMEOUT, message=f"killed at its time limit, in phase {phase}")
    if result.get("ok"):
        return None
    if result.get("status") in {status.value for status in Status}:
        return Verdict(Status(result["status"]), message=str(result.get("error", "")))
    status = Status.COMPILE_ERROR if phase == "load" else Status.RUNTIME_ERROR
    ending = f"the process ended with {ended.code} in phase {phase}, without a result"
    return Verdict(status, message=str(result.get("error") or ending))


def _judge(task: Task, settings: Settings, folder: Path, own: Path) -> Verdict:
    """Compare every input set's outputs with the reference's; draws by frequency."""
    tolerance = _tolerance(task.definition)
    try:
        verdicts = []
        for index in range(settings.sets):
            name = f"outputs{index}.safetensors"
            got, want = _load(own / name), _load(folder / "reference" / name)
            form_only = tolerance.samples
            verdicts.append(check_form(got, want) if form_only else compare(got, want, tolerance))
        if tolerance.samples and worst(verdicts).status is Status.PASSED:
            verdicts += _judge_draws(folder, own)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        return Verdict(Status.RUNTIME_ERROR, message=f"outputs cannot be read: {error}")
    return worst(verdicts)


def _judge_draws(folder: Path, own: Path) -> list[Verdict]:
    inputs = _load(set_folder(str(folder / "inputs"), 0) / TENSORS)
    got, want = (_load(at / "draws.safetensors") for at in (own, folder / "reference"))
    return [compare_draws(got[name], want[name], inputs) for name in want]


def _evaluation(
    task: Task,
    settings: Settings,
    verdict: Verdict,
    reference: dict[str, Any],
    result: dict[str, Any],
    log: str,
) -> Evaluation:
    correctness = performance = None
    if verdict.status in (Status.PASSED, Status.INCORRECT_NUMERICAL):
        tolerance = _tolerance(task.definition)
        extra: dict[str, Any] = {
            "seed": settings.seed,
            "input_sets": settings.sets,
            "atol": tolerance.atol,
            "rtol": tolerance.rtol,
            "matched_ratio": verdict.matched_ratio,
        }
        if verdict.status is Status.PASSED:
            extra["timing"] = result["times"]
            extra["reference_timing"] = reference["times"]
            performance = _performance(result["times"], reference["times"])
        correctness = Correctness(
            max_absolute_error=verdict.max_abs, max_relative_error=verdict.max_rel, extra=extra
        )
    return Evaluation(
        status=verdict.status,
        environment=Environment(hardware=reference["hardware"], libs=reference["libs"]),
        timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        log=log,
        correctness=correctness,
        performance=performance,
    )


def _performance(mine: dict[str, Any], reference: dict[str, Any]) -> Performance:
    latency, baseline = float(mine["median_ms"]), float(reference["median_ms"])
    return Performance(
        latency_ms=latency,
        reference_latency_ms=baseline,
        speedup_factor=baseline / latency if latency > 0 else 0.0,
    )


def _notes(result: dict[str, Any]) -> list[str]:
    if names := result.get("mutates"):
        return [f"note: writes to its inputs ({', '.join(names)}); restored between timed calls"]
    return []


def _result(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _tail(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-LOG_CHARACTERS:].strip()


def _load(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
