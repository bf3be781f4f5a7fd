"""From what a worker left behind to a verdict and the evaluation that is written down."""

from __future__ import annotations

import json
import math
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import ops
from kernelkit.bench.compare import Verdict, check_form, compare, worst
from kernelkit.bench.draws import compare_draws
from kernelkit.bench.job import PHASE, RESULT, TENSORS, Settings, set_folder
from kernelkit.bench.process import Ended
from kernelkit.bench.selection import Task
from kernelkit.bench.timing import Spread
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Correctness, Environment, Evaluation, Performance, Status
from kernelkit.ops.base import Tolerance

if TYPE_CHECKING:
    import torch

LOG_CHARACTERS = 2000


def failure(ended: Ended, result: dict[str, Any], own: Path) -> Verdict | None:
    """The verdict on a worker that left no outputs; None where it did."""
    phase = tail(own / PHASE) or "start"
    if ended.timed_out:
        return Verdict(Status.TIMEOUT, message=f"killed at its time limit, in phase {phase}")
    if result.get("ok"):
        if _times_are_sound(result.get("times")):
            return None
        return Verdict(Status.RUNTIME_ERROR, message="the worker's times are no times")
    for status in (Status.INCORRECT_SHAPE, Status.INCORRECT_DTYPE):
        if result.get("status") == status.value:
            return Verdict(status, message=str(result.get("error", "")))
    status = Status.COMPILE_ERROR if phase == "load" else Status.RUNTIME_ERROR
    ending = f"the process ended with {ended.code} in phase {phase}, without a result"
    return Verdict(status, message=str(result.get("error") or ending))


def judge(task: Task, settings: Settings, folder: Path, own: Path) -> Verdict:
    """Compare every input set's outputs with the reference's; draws by frequency."""
    from safetensors import SafetensorError

    tolerance = tolerance_of(task.definition)
    try:
        verdicts = []
        for index in range(settings.sets):
            name = f"outputs{index}.safetensors"
            got, want = _load(own / name), _load(folder / "reference" / name)
            form_only = tolerance.samples
            verdicts.append(check_form(got, want) if form_only else compare(got, want, tolerance))
        if tolerance.samples and worst(verdicts).status is Status.PASSED:
            verdicts += _judge_draws(folder, own)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        return Verdict(Status.RUNTIME_ERROR, message=f"outputs cannot be read: {error}")
    return worst(verdicts)


def make_evaluation(
    task: Task,
    settings: Settings,
    verdict: Verdict,
    reference: dict[str, Any],
    result: dict[str, Any],
    log: str,
) -> Evaluation:
    """The evaluation of a trace: environment and reference times come from the reference's worker,
    the solution's times from its own."""
    correctness = performance = None
    if verdict.status in (Status.PASSED, Status.INCORRECT_NUMERICAL):
        tolerance = tolerance_of(task.definition)
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


def notes(result: dict[str, Any]) -> list[str]:
    """What a person should know of a solution that has passed."""
    names = result.get("mutates")
    if not isinstance(names, list) or not names:
        return []
    return [f"note: writes to its inputs ({', '.join(map(str, names))}), restored between calls"]


def read_result(folder: Path) -> dict[str, Any]:
    """The worker's answer; empty where it left none."""
    try:
        found = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def tail(path: Path) -> str:
    """The end of a text file; empty where there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-LOG_CHARACTERS:].strip()


def tolerance_of(definition: Definition) -> Tolerance:
    """The family's tolerance."""
    return ops.family(definition.op_type).tolerance(definition)


def _times_are_sound(times: object) -> bool:
    """Whether a worker's answer has the fields of a Spread, with finite numbers above zero."""
    if not isinstance(times, dict) or set(times) != {field.name for field in fields(Spread)}:
        return False
    numbers = [times[name] for name in ("median_ms", "p20_ms", "p80_ms", "samples")]
    return all(isinstance(n, (int, float)) and 0 < n < math.inf for n in numbers)


def _judge_draws(folder: Path, own: Path) -> list[Verdict]:
    inputs = _load(set_folder(str(folder / "inputs"), 0) / TENSORS)
    got, want = (_load(at / "draws.safetensors") for at in (own, folder / "reference"))
    return [compare_draws(got[name], want[name], inputs) for name in want]


def _performance(mine: dict[str, Any], reference: dict[str, Any]) -> Performance:
    latency, baseline = float(mine["median_ms"]), float(reference["median_ms"])
    return Performance(
        latency_ms=latency,
        reference_latency_ms=baseline,
        speedup_factor=baseline / latency if latency > 0 else 0.0,
    )


def _load(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
