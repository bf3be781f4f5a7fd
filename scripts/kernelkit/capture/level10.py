"""Read a FlashInfer level-10 dump: one folder per call, with metadata.jsonl and inputs.*.

metadata.jsonl holds one record before the call (execution_status inputs_saved) and one after it
(completed). Keys: `arg_{i}` for positions (of a method, arg_0 is the wrapper), `kwarg_{name}` for
keywords, `__{i}` behind them for the items of a tuple. Arguments left at their default are absent:
names and defaults come from the recorded function_signature. Tensor data is read only when asked
for, so that a dump with whole KV pools, or one that was stripped of them, costs nothing.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.errors import FormatError, MissingDependencyError, NothingSelectedError, UsageError

if TYPE_CHECKING:
    import numpy

METADATA = "metadata.jsonl"
_SKIPPED_FOLDERS = ("graph_flushes",)


@dataclass(frozen=True)
class TensorArg:
    """A tensor argument: what the record says of it, and where its data is."""

    shape: tuple[int, ...]
    dtype: str  # without the prefix torch.
    key: str
    folder: Path

    def data(self) -> numpy.ndarray:
        """The recorded values. Raises FormatError where the dump does not hold them."""
        for name, read in (("inputs.safetensors", _read_safetensors), ("inputs.pt", _read_torch)):
            if (self.folder / name).is_file():
                found = read(self.folder / name, self.key)
                if found is not None:
                    return found
        raise FormatError(f"{self.folder.name}: the dump holds no data of tensor {self.key}")


@dataclass(frozen=True)
class Call:
    """One recorded call; `arguments` by parameter name, with the signature's defaults filled in."""

    function: str  # `rmsnorm`, or `BatchDecodeWithPagedKVCacheWrapper.run`
    process: int
    wrapper: int | None  # id() of the wrapper: pairs a run with the plan before it
    completed: bool
    arguments: dict[str, Any]
    folder: Path

    @property
    def api(self) -> str:
        """The function, or the wrapper's class (CUDA-graph subclasses count as their base)."""
        return self.function.split(".")[0].removeprefix("CUDAGraph")

    @property
    def method(self) -> str | None:
        """`plan` or `run` of a wrapper; None for a function."""
        return self.function.partition(".")[2] or None


def load_calls(folder: Path) -> tuple[list[Call], list[str]]:
    """All calls of a dump, in time's order, and a note for each folder that is unreadable.

    Raises UsageError where `folder` is no folder, NothingSelectedError where it holds no call.
    """
    if not folder.is_dir():
        raise UsageError("no such dump folder", received=folder)
    calls, notes = [], []
    for path in sorted(folder.rglob(METADATA), key=lambda path: path.parent.name):
        if any(part in _SKIPPED_FOLDERS for part in path.relative_to(folder).parts):
            continue
        try:
            calls.append(_read_call(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{path.parent.name}: {METADATA} cannot be read: {error!r}")
    if not calls:
        raise NothingSelectedError(
            "no recorded call in the dump",
            received=folder,
            next_step="run the server with FLASHINFER_LOGLEVEL=10 and FLASHINFER_DUMP_DIR set",
        )
    return calls, notes


def _read_call(path: Path) -> Call:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    record, last = json.loads(lines[0]), _last_record(lines)
    names = _parameters(record.get("function_signature", ""))
    found = {name: value for name, (has, value) in names.items() if has}
    found.update(_arguments(record, list(names), path.parent))
    return Call(
        function=record["function_name"],
        process=record["process_id"],
        wrapper=record.get("self_id"),
        completed=last.get("execution_status") == "completed",
        arguments=found,
        folder=path.parent,
    )


def _last_record(lines: list[str]) -> dict[str, Any]:
    """The last whole record: a killed process may have cut the very last line."""
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:
            continue
    return {}


def _arguments(record: dict[str, Any], names: list[str], folder: Path) -> dict[str, Any]:
    tensors = {
        key: TensorArg(tuple(item["shape"]), item["dtype"].removeprefix("torch."), key, folder)
        for key, item in record.get("tensor_details", {}).items()
    }
    found: dict[str, Any] = {}
    for key, value in {**record.get("input_metadata", {}), **tensors}.items():
        if "__" in key and key not in record.get("input_metadata", {}):
            continue  # an item of a tuple: reached through the tuple's own entry
        found[_parameter_name(key, names)] = _value(value, tensors)
    return found


def _parameter_name(key: str, names: list[str]) -> str:
    if key.startswith("kwarg_"):
        return key.removeprefix("kwarg_")
    position = int(key.removeprefix("arg_"))
    return names[position] if position < len(names) else key


def _value(value: object, tensors: dict[str, TensorArg]) -> object:
    """A recorded value in Python's terms; an object of another type stays its description."""
    if not isinstance(value, dict):
        return value
    if "tensor_key" in value:
        return tensors[value["tensor_key"]]
    if value.get("type") in ("tuple", "list"):
        return tuple(_value(item, tensors) for item in value["items"])
    if value.get("type") in ("torch.dtype", "enum"):
        return value["value"]
    return value


def _parameters(signature: str) -> dict[str, tuple[bool, Any]]:
    """Parameter names of a signature's text in order: whether a literal default is there, which."""
    start, depth, parts, current = signature.find("("), 0, [], ""
    for character in signature[start + 1 :] if start >= 0 else "":
        if character == ")" and depth == 0:
            break
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    found = {}
    for part in (part.strip() for part in [*parts, current]):
        if part and not part.startswith("*"):
            name, has_default, default = part.partition("=")
            found[name.split(":")[0].strip()] = _literal(default) if has_default else (False, None)
    return found


def _literal(text: str) -> tuple[bool, Any]:
    try:
        return True, ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return False, None


def _read_safetensors(path: Path, key: str) -> numpy.ndarray | None:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return file.get_tensor(key) if key in file.keys() else None


def _read_torch(path: Path, key: str) -> numpy.ndarray | None:
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "the dump is in torch's format, and torch is not installed",
            received=path,
            next_step="pip install torch, or record with FLASHINFER_DUMP_SAFETENSORS=1",
        ) from None
    tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return tensors[key].contiguous().numpy() if key in tensors else None
