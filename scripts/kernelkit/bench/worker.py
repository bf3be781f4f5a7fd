"""Inside a worker: load one function, call it on every input set, time it, leave the outputs.

Answers in files of its folder: `phase` (load, run, time), `result.json`, outputs as safetensors.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench.job import LOG, PHASE, RESULT, SCALARS, TENSORS, Job, set_folder

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
TRACEBACK_FRAMES, ERROR_CHARACTERS = 12, 2000


class BadOutputError(Exception):
    """The function returned something that is no set of outputs; `status` is the verdict."""

    def __init__(self, status: str, message: str) -> None:
        self.status = status
        super().__init__(message)


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


def describe(error: BaseException, code_folder: str) -> str:
    """The error with the frames of the solution's own files, named as the solution names them."""
    whole = traceback.TracebackException.from_exception(error)
    frames = [frame for frame in whole.stack if frame.filename.startswith(code_folder)]
    lines = [
        f"{frame.filename}:{frame.lineno} in {frame.name}: {(frame.line or '').strip()}"
        for frame in frames[-TRACEBACK_FRAMES:]
    ]
    text = "\n".join([*lines, "".join(whole.format_exception_only()).strip()])
    return text.replace(f"{code_folder}/", "")[-ERROR_CHARACTERS:]


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


def load_function(folder: Path, file: str, symbol: str) -> Callable[..., Any]:
    """The function `symbol` of `folder/file`, with `folder` importable for its sisters."""
    sys.path.insert(0, str(folder))
    name = Path(file).with_suffix("").as_posix().replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, folder / file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    function = getattr(module, symbol)
    if not callable(function):
        raise TypeError(f"{file}::{symbol} is not callable")
    return function


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


def call(job: Job, function: Callable[..., Any], inputs: dict[str, Any]) -> Tensors:
    """One call in the solution's style; outputs by name. Raises BadOutputError."""
    if job.destination_passing:
        outputs = _allocate(job)
        function(*inputs.values(), *outputs.values())
        return outputs
    return name_outputs(function(*inputs.values()), list(job.outputs))


def name_outputs(result: object, names: list[str]) -> Tensors:
    """A returned tensor, sequence or mapping as outputs by name. Raises BadOutputError."""
    import torch

    if isinstance(result, torch.Tensor):
        result = (result,)
    if isinstance(result, dict):
        if set(result) != set(names):
            raise BadOutputError("INCORRECT_SHAPE", f"outputs {list(result)}, expected {names}")
        result = [result[name] for name in names]
    if not isinstance(result, (tuple, list)):
        raise BadOutputError("INCORRECT_DTYPE", f"returned {type(result).__name__}, no tensor")
    if len(result) != len(names):
        raise BadOutputError("INCORRECT_SHAPE", f"{len(result)} outputs, expected {len(names)}")
    for name, value in zip(names, result, strict=True):
        if not isinstance(value, torch.Tensor):
            raise BadOutputError("INCORRECT_DTYPE", f"{name} is {type(value).__name__}, no tensor")
    return dict(zip(names, result, strict=True))


def _allocate(job: Job) -> Tensors:
    """Outputs for destination-passing style, filled with what no right answer holds."""
    import torch

    from kernelkit.ops.base import torch_dtype

    made = {}
    for name, (shape, dtype) in job.outputs.items():
        kind = torch_dtype(dtype)
        poison = float("nan") if kind.is_floating_point else 0 if kind == torch.bool else -1
        made[name] = torch.full(shape or [], poison, dtype=torch.float32).to(kind).to(job.device)
    return made


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
    places = [_allocate(job) if job.destination_passing else {} for _ in sets]
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
