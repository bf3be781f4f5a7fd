"""Recorded tensors: where they lie, their header, and what index tensors must satisfy.

Headers are read without loading; only integer tensors are loaded, with numpy.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import is_lfs_pointer
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.workload import SafetensorsInput, Workload

if TYPE_CHECKING:
    import numpy

DTYPES = {
    "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F4": "float4_e2m1", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "BOOL": "bool",
}  # fmt: skip
INTEGERS = ("int64", "int32", "int16", "int8")
HEADER_MOST = 100 << 20  # the limit of the safetensors library
# Offsets end where this axis does; indices lie below the product of these axes.
ENDS = {"qo_indptr": ("total_q",), "kv_indptr": ("num_kv_indices", "total_kv"),
        "cu_seqlens": ("total_seq_len",)}  # fmt: skip
BELOW = {
    "kv_indices": ("num_pages",),
    "block_table": ("num_pages",),
    "sparse_indices": ("num_pages", "page_size"),
    "initial_state_indices": ("pool_size",),
    "state_batch_indices": ("state_cache_size",),
    "positions": ("max_seq_len",),
}
PADDED = ("sparse_indices", "state_batch_indices")  # -1 stands for nothing


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of its tensors, and where their data starts."""

    tensors: dict[str, dict[str, object]]
    start: int


@lru_cache(maxsize=64)
def read_header(path: Path) -> Header:
    """The header of a safetensors file. Raises ValueError for a file that is none."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise ValueError("shorter than a header")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(HEADER_MOST, size - 8):
            raise ValueError("header is longer than the file")
        tensors = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    for name, entry in tensors.items():
        if 8 + length + entry["data_offsets"][1] > size:
            raise ValueError(f"data of {name} is cut off")
    return Header(tensors, 8 + length)


def load_integers(path: Path, key: str) -> numpy.ndarray:
    """An integer tensor of the file."""
    import numpy

    header = read_header(path)
    entry = header.tensors[key]
    first, last = entry["data_offsets"]
    with open(path, "rb") as file:
        file.seek(header.start + first)
        data = file.read(last - first)
    return numpy.frombuffer(data, dtype=DTYPES[str(entry["dtype"])]).reshape(entry["shape"])


def blob_problem(root: Path, source: SafetensorsInput, field: str) -> Problem | None:
    """Why the file of a recorded input cannot be used, or None."""
    parts = PurePosixPath(source.path).parts
    inside = [part for part in parts if part != "."]
    if (
        source.path.startswith("/")
        or ".." in parts
        or "\\" in source.path
        or inside[:1] != ["blob"]
    ):
        return "B1", field, repr(source.path), "a relative path below blob/"
    path = root / source.path
    if not path.is_file():
        return "B2", field, source.path, "pull or record it again"
    if is_lfs_pointer(path):
        return "B3", field, source.path, f"git lfs pull --include {'/'.join(inside)}"
    try:
        header = read_header(path)
    except (ValueError, KeyError, TypeError, json.JSONDecodeError, struct.error) as error:
        return "B4", field, f"{source.path}: {error}", "record it again"
    if source.tensor_key not in header.tensors:
        text = f"{source.tensor_key!r} is not among {', '.join(sorted(header.tensors))}"
        return "B5", field, text, "correct tensor_key"
    return None


def check_tensor(
    definition: Definition, workload: Workload, name: str, entry: Mapping[str, object]
) -> Iterator[Problem]:
    """Shape and dtype of a recorded input against the definition."""
    field = f"workload.inputs.{name}"
    axes = {**workload.axes, **definition.const_axes}
    spec = definition.inputs[name]
    if spec.shape is not None and all(axis in axes for axis in spec.shape):
        want = [axes[axis] for axis in spec.shape]
        if entry["shape"] != want:
            text = f"shape {entry['shape']}, the axes give {want}"
            yield "B6", field, text, "correct the axes or the tensor"
    dtype = DTYPES.get(str(entry["dtype"]), str(entry["dtype"]))
    if dtype != spec.dtype.value:
        yield "B7", field, f"{dtype}, declared {spec.dtype.value}", "convert the tensor"


def check_values(
    definition: Definition, workload: Workload, loaded: Mapping[str, numpy.ndarray]
) -> Iterator[Problem]:
    """What offsets, indices and last page lengths must satisfy."""
    axes = {**workload.axes, **definition.const_axes}
    for name, values in loaded.items():
        field = f"workload.inputs.{name}"
        if name.endswith("indptr") or name == "cu_seqlens":
            ends = [axes[axis] for axis in ENDS.get(name, ()) if axis in axes]
            if problem := _offsets(values, ends):
                yield "B8", field, problem, "offsets run from 0 to the number of entries"
        bound = [axes[axis] for axis in BELOW.get(name, ()) if axis in axes]
        if bound and len(bound) == len(BELOW[name]) and values.size:
            limit = bound[0] * (bound[1] if len(bound) > 1 else 1)
            least = -1 if name in PADDED else 0
            if values.min() < least or values.max() >= limit:
                text = f"{values.min()} to {values.max()}, allowed {least} to {limit - 1}"
                yield "B9", field, text, "correct the index or the axis"
        if name == "kv_last_page_len" and (problem := _last_pages(values, loaded, axes)):
            yield "B10", field, problem, "1 to page_size; 0 for a request without pages"


def _offsets(values: numpy.ndarray, ends: list[int]) -> str | None:
    if values.ndim != 1 or not values.size:
        return f"shape {list(values.shape)}"
    if values[0] != 0:
        return f"starts at {values[0]}"
    if (values[1:] < values[:-1]).any():
        return "falls"
    if ends and values[-1] != ends[0]:
        return f"ends at {values[-1]}, not {ends[0]}"
    return None


def _last_pages(
    values: numpy.ndarray, loaded: Mapping[str, numpy.ndarray], axes: Mapping[str, int]
) -> str | None:
    indptr = loaded.get("kv_indptr")
    most = axes.get("page_size", 1)
    if values.size and (values.min() < 0 or values.max() > most):
        return f"{values.min()} to {values.max()}, page_size {most}"
    if indptr is not None and len(indptr) == len(values) + 1:
        wrong = (values == 0) & (indptr[1:] > indptr[:-1])
        if wrong.any():
            return f"0 for request {int(wrong.argmax())}, which has pages"
    return None
