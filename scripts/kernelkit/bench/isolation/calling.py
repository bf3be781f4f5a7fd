"""Load a function from a solution's sources, name what it returns, and describe its errors."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
PACKAGE = "solution_sources"
TRACEBACK_FRAMES, ERROR_CHARACTERS = 12, 2000


class BadOutputError(Exception):
    """The function returned something that is no set of outputs; `status` is the verdict."""

    def __init__(self, status: str, message: str) -> None:
        self.status = status
        super().__init__(message)


def load_function(code: Path, file: str, symbol: str) -> Callable[..., Any]:
    """The function `symbol` of `code/file`."""
    function = getattr(load_module(code, file), symbol)
    if not callable(function):
        raise TypeError(f"{file}::{symbol} is not callable")
    return function


def load_module(code: Path, file: str) -> types.ModuleType:
    """Import `file` as a module of a package of its own, so that `from .sister import x` works;
    `import sister` works too."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(code)]
    sys.modules[PACKAGE] = package
    sys.path.insert(0, str(code))
    parts = Path(file).with_suffix("").parts
    for depth in range(1, len(parts)):  # packages between: plain folders need no __init__.py
        importlib.import_module(".".join([PACKAGE, *parts[:depth]]))
    name = ".".join([PACKAGE, *parts])
    found = importlib.util.spec_from_file_location(name, code / file)
    if found is None or found.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def name_outputs(result: object, names: list[str]) -> Tensors:
    """A returned tensor, sequence or mapping as outputs by name. Raises BadOutputError.

    A tensor is exactly a torch.Tensor: a subclass can claim what it does not hold.
    """
    import torch

    if type(result) is torch.Tensor:
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
        if type(value) is not torch.Tensor or value.layout is not torch.strided:
            raise BadOutputError("INCORRECT_DTYPE", f"{name} is {type(value).__name__}, no tensor")
    return dict(zip(names, result, strict=True))


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
