"""Inside a worker: load one function, call it on every input set, time it, leave the outputs.

Answers in files of its folder: `phase` (load, run, time), `result.json`, outputs as safetensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench.calling import (
    BadOutputError,
    Tensors,
    allocate,
    call,
    describe,
    load_function,
)
from kernelkit.bench.job import LOG, PHASE, RESULT, SCALARS, TENSORS, Job, set_folder

if TYPE_CHECKING:
    import torch


def main(path: str) -> None:
    """Run the job of the file `path` in this process, detached from its parent's terminal."""
    job = Job.read(Path(path))
    if hasattr(os, "setsid"):
        os.setsid()
    os.chdir(job.folder)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        result = _run(job)
    except BadOutputError as error:
        result = {"ok": False, "status": error.status, "error": str(error)}
    except BaseException as error:  # also SystemExit: a solution must not end the worker unheard
        result = {"ok": False, "error": describe(error, job.code_folder)}
    _write_json(Path(job.folder) / RESULT, result)
    os._exit(0)  # threads of a solution may still run


def _run(job: Job) -> dict[str, Any]:
    import torch

    phase = Path(job.folder) / PHASE
    phase.write_text("inputs", encoding="utf-8")
    if job.role == "reference":
        _make_inputs(job)
    sets = [_load_inputs(job, index) for index in range(job.sets)]
    phase.write_text("load", encoding="utf-8")
    function = load_function(Path(job.code_folder), job.entry_file, job.entry_symbol)
    phase.write_text("run", encoding="utf-8")
    torch.manual_seed(job.seed)
    changed = [_check_run(job, function, inputs, index) for index, inputs in enumerate(sets)]
    if job.draws:
        _draw(job, function, sets[0])
    phase.write_text("time", encoding="utf-8")
    mutates = sorted(set().union(*changed))
    times = _time(job, function, sets, mutates)
    return {"ok": True, "times": times, "mutates": mutates, **_environment(job)}


def _environment(job: Job) -> dict[str, Any]:
    """Hardware and library versions; asked of the reference's worker only."""
    if job.role != "reference":
        return {}
    from kernelkit.bench import device

    return {"hardware": device.hardware(job.device), "libs": device.libraries()}


def _make_inputs(job: Job) -> None:
    """Make and leave the input sets: recorded tensors and scalars as given, all else by family."""
    from safetensors.torch import load_file, save_file

    from kernelkit import ops
    from kernelkit.dataset.definition import Definition

    definition = Definition.model_validate(job.definition)
    given = {
        name: source["value"] if "value" in source else load_file(source["path"])[source["key"]]
        for name, source in (job.given or {}).items()
    }
    family = ops.family(definition.op_type)
    for index in range(job.sets):
        made = family.make_inputs(definition, job.axes or {}, job.seed + index, given=given)
        folder = set_folder(job.inputs_folder, index)
        folder.mkdir(parents=True)
        tensors = {name: value for name, value in made.items() if hasattr(value, "dtype")}
        scalars = {name: value for name, value in made.items() if name not in tensors}
        save_file({n: t.contiguous().clone() for n, t in tensors.items()}, folder / TENSORS)
        _write_json(folder / SCALARS, scalars)


def _load_inputs(job: Job, index: int) -> dict[str, Any]:
    from safetensors.torch import load_file

    folder = set_folder(job.inputs_folder, index)
    values = json.loads((folder / SCALARS).read_text(encoding="utf-8"))
    values.update(load_file(folder / TENSORS, device=job.device))
    return {name: values[name] for name in job.input_names}


def _check_run(
    job: Job, function: Callable[..., Any], inputs: dict[str, Any], index: int
) -> set[str]:
    """Call on a copy of the inputs and leave the outputs. Returns the inputs it wrote to."""
    copies = {n: v.clone() if hasattr(v, "clone") else v for n, v in inputs.items()}
    outputs = call(job, function, copies)
    _save(outputs, Path(job.folder) / f"outputs{index}.safetensors")
    return {n for n, v in inputs.items() if hasattr(v, "clone") and not _same(v, copies[n])}


def _draw(job: Job, function: Callable[..., Any], inputs: dict[str, Any]) -> None:
    """Leave the results of many calls on the same inputs, until the time for it has passed."""
    import time

    import torch

    deadline = time.perf_counter() + job.max_seconds
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in job.outputs}
    for _ in range(job.draws):
        for name, value in call(job, function, inputs).items():
            kept[name].append(value.detach().cpu().clone())
        if time.perf_counter() > deadline:
            break
    _save({n: torch.stack(v) for n, v in kept.items()}, Path(job.folder) / "draws.safetensors")


def _time(
    job: Job, function: Callable[..., Any], sets: list[dict[str, Any]], mutates: list[str]
) -> dict[str, Any]:
    """Time the bare call, alternating between the input sets."""
    from kernelkit.bench.timing import measure

    pristine = [{name: inputs[name].clone() for name in mutates} for inputs in sets]
    places = [allocate(job) if job.destination_passing else {} for _ in sets]
    arguments = [[*i.values(), *o.values()] for i, o in zip(sets, places, strict=True)]

    def restore(index: int) -> None:
        for name, value in pristine[index % len(sets)].items():
            sets[index % len(sets)][name].copy_(value)

    measured = measure(
        lambda index: function(*arguments[index % len(sets)]),
        restore,
        device=job.device,
        warmup=job.warmup,
        iterations=job.iterations,
        max_seconds=job.max_seconds,
    )
    return asdict(measured)


def _same(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether two tensors hold the same bytes (NaN equals itself)."""
    import torch

    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if not before.numel():
        return True
    first, second = (t.contiguous().reshape(-1).view(torch.uint8) for t in (before, after))
    return torch.equal(first, second)


def _save(outputs: Tensors, path: Path) -> None:
    from safetensors.torch import save_file

    save_file({n: t.detach().cpu().contiguous().clone() for n, t in outputs.items()}, path)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
