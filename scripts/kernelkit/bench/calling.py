"""Load a function from a solution's sources, call it in its style, and name what it returns."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench.job import Job

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
TRACEBACK_FRAMES, ERROR_CHARACTERS = 12, 2000


class BadOutputError(Exception):
    """The function returned something that is no set of outputs; `status` is the verdict."""

    def __init__(self, status: str, message: str) -> None:
        self.status = status
        super().__init__(message)


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


def call(job: Job, function: Callable[..., Any], inputs: dict[str, Any]) -> Tensors:
    """One call in the solution's style; outputs by name. Raises BadOutputError."""
    if job.destination_passing:
        outputs = allocate(job)
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


def allocate(job: Job) -> Tensors:
    """Outputs for destination-passing style, filled with what no right answer holds."""
    import torch

    from kernelkit.ops.base import torch_dtype

    made = {}
    for name, (shape, dtype) in job.outputs.items():
        kind = torch_dtype(dtype)
        poison = float("nan") if kind.is_floating_point else 0 if kind == torch.bool else -1
        made[name] = torch.full(shape or [], poison, dtype=torch.float32).to(kind).to(job.device)
    return made


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
