"""Read FlashInfer's level-10 folders: one folder a call, metadata.jsonl and inputs.*, no payload.

metadata.jsonl holds one record before the call (execution_status inputs_saved) and one after it
(completed). Keys: `arg_{i}` for positions (of a method, arg_0 is the wrapper), `kwarg_{name}` for
keywords, `__{i}` behind them for the items of a tuple. Arguments left at their default are absent:
names and defaults come from the recorded function_signature. FlashInfer 0.6 and 0.7 write the same.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kernelkit.capture.sanitize import payload, signature
from kernelkit.capture.sanitize.calls import (
    BAD_DTYPE,
    CUDA_GRAPH,
    CUT_METADATA,
    INPUTS_ONLY,
    NO_METADATA,
    Call,
    Origin,
    TensorArg,
    Unusable,
)

METADATA = "metadata.jsonl"
_COMPLETED = b'"execution_status": "completed"'
_CALL_FOLDER = re.compile(r"\d{8}_\d{6}_\d{3}_pid\d+_.+_call\d+")
_ATOMS = (
    r"(u?int(8|16|32|64)|float(16|32|64)|bfloat16|bool|complex(32|64|128)|float8_\w+|float4_\w+)"
)
_DTYPE = re.compile(rf"torch\.{_ATOMS}")


@dataclass(frozen=True)
class Found:
    """What lies below a folder: folders of calls in time's order, and other files by name."""

    folders: list[str]
    files: list[str]
    unreadable: list[Unusable]


def look(root: Path) -> Found:
    """Every folder of a call below `root` (their names begin with the time), and the files of the
    folders above them. Folders of calls are not entered."""
    found: list[tuple[str, str]] = []
    files: list[str] = []
    unreadable: list[Unusable] = []
    pending = [str(root)]
    while pending:
        folder = pending.pop()
        if os.path.exists(os.path.join(folder, METADATA)):
            found.append((os.path.basename(folder), folder))
            continue
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            unreadable.append(Unusable(NO_METADATA, str(error), folder))
            continue
        for entry in listed:
            is_folder = entry.is_dir(follow_symlinks=False)  # a link may lead back up
            if is_folder and _CALL_FOLDER.fullmatch(entry.name):
                found.append((entry.name, entry.path))
            else:
                (pending if is_folder else files).append(entry.path)
    return Found([path for _, path in sorted(found)], sorted(files), unreadable)


def read_calls(
    folders: Iterable[str], root: Path, *, accept_incomplete: bool = False
) -> Iterator[Call | Unusable]:
    """Each folder's call, or why it is unusable. `accept_incomplete` takes calls that raised."""
    above = str(root) + os.sep
    for folder in folders:
        place = folder.removeprefix(above) if folder != str(root) else os.path.basename(folder)
        try:
            call = read_call(folder, place, accept_incomplete=accept_incomplete)
            payload.check_file(folder)
            yield call
        except Unusable as error:
            yield Unusable(error.kind, error.detail, place)


def read_call(folder: str, place: str, *, accept_incomplete: bool = False) -> Call:
    """The call of one folder. Raises Unusable."""
    first, status = _records(folder)
    try:
        _check_status(first, status, accept_incomplete)
        return _call(first, folder, place)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise Unusable(CUT_METADATA, f"{METADATA}: {error!r}") from None


def _records(folder: str) -> tuple[dict[str, Any], str]:
    """The first record and the last status: a killed process may have cut the very last line."""
    try:
        with open(os.path.join(folder, METADATA), "rb") as file:
            lines = [line for line in file.read().split(b"\n") if line.strip()]
    except FileNotFoundError:
        raise Unusable(NO_METADATA, METADATA) from None
    except OSError as error:
        raise Unusable(CUT_METADATA, str(error)) from None
    if not lines:
        raise Unusable(CUT_METADATA, f"{METADATA} is empty")
    try:
        first = json.loads(lines[0])
    except (ValueError, RecursionError) as error:
        raise Unusable(CUT_METADATA, f"{METADATA}: {error}") from None
    if not isinstance(first, dict):
        raise Unusable(CUT_METADATA, f"{METADATA}: a {type(first).__name__}, not an object")
    return first, _last_status(lines)


def _last_status(lines: list[bytes]) -> str:
    last = lines[-1]
    if _COMPLETED in last and last.rstrip().endswith(b"}"):
        return "completed"  # not parsed: it repeats the first record
    for line in reversed(lines):
        try:
            return str(json.loads(line)["execution_status"])
        except (ValueError, RecursionError, KeyError, TypeError):
            continue
    return "unknown"


def _check_status(first: dict[str, Any], status: str, accept_incomplete: bool) -> None:
    if first.get("graph_capture") or status == "graph_capture_pending_flush":
        text = "replayed without its plan: record with CUDA graphs off"
        raise Unusable(CUDA_GRAPH, text)
    if status != "completed" and not accept_incomplete:
        raise Unusable(INPUTS_ONLY, f"status {status}: the call raised, or the process was killed")


def _call(record: dict[str, Any], folder: str, place: str) -> Call:
    function = record["function_name"]
    api, _, method = function.partition(".")
    names = signature.parse(record.get("function_signature") or "")
    arguments = {**names.defaults, **_arguments(record, names, folder)}
    process = os.path.dirname(folder), record["process_id"]
    version = (record.get("versions") or {}).get("flashinfer")
    return Call(
        api=api.removeprefix("CUDAGraph"),
        method=method,
        arguments=arguments,
        place=place,
        origin=_origin(version),
        process=process,
        wrapper=record.get("self_id"),
    )


def _origin(version: str | None) -> Origin:
    return Origin("level10", flashinfer_version=version)


def _arguments(record: dict[str, Any], names: signature.Signature, folder: str) -> dict[str, Any]:
    metadata = record.get("input_metadata", {})
    tensors = {
        key: _tensor(key, item, folder) for key, item in record.get("tensor_details", {}).items()
    }
    found: dict[str, Any] = {}
    for key, value in {**metadata, **tensors}.items():
        if "__" in key and key not in metadata:
            continue  # an item of a tuple: reached through the tuple's own entry
        found[_parameter(key, names)] = _value(value, tensors)
    return found


def _tensor(key: str, item: dict[str, Any], folder: str) -> TensorArg:
    shape, dtype = tuple(item["shape"]), item["dtype"]
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise Unusable(BAD_DTYPE, f"{key}: {dtype!r}")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"{key}: shape {shape}")
    dtype = dtype.removeprefix("torch.")
    return TensorArg(shape, dtype, partial(payload.read, folder, key, shape, dtype))


def _parameter(key: str, names: signature.Signature) -> str:
    if key.startswith("kwarg_"):
        return key.removeprefix("kwarg_")
    return names.name_at(int(key.removeprefix("arg_")))


def _value(value: object, tensors: dict[str, TensorArg]) -> object:
    """A recorded value in Python's terms; an object of another type stays its description."""
    if not isinstance(value, dict):
        return value
    if "tensor_key" in value:
        return tensors[value["tensor_key"]]
    if value.get("type") in ("tuple", "list"):
        return tuple(_value(item, tensors) for item in value["items"])
    if value.get("type") == "torch.dtype":
        return str(value["value"]).removeprefix("torch.")
    if value.get("type") == "enum":
        return value["value"]
    return value
