"""Recorded tensors: where they lie, and what index tensors must satisfy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import is_lfs_pointer
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.validate.header import Entry, read_header
from kernelkit.dataset.workload import SafetensorsInput, Workload

if TYPE_CHECKING:
    import numpy

# Offsets end where this axis does; indices lie below the product of these axes.
ENDS = {"qo_indptr": ("total_q",), "kv_indptr": ("num_kv_indices", "total_kv"),
        "cu_seqlens": ("total_seq_len",)}  # fmt: skip
BELOW = {
    "kv_indices": ("num_pages",),
    "sparse_indices": ("num_pages", "page_size"),
    "initial_state_indices": ("pool_size",),
    "state_batch_indices": ("state_cache_size",),
    "positions": ("max_seq_len",),
}
PADDED = ("sparse_indices", "state_batch_indices")  # -1 stands for nothing


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
    try:
        if not path.is_file():
            return "B2", field, source.path, "pull or record it again"
        if is_lfs_pointer(path):
            return "B3", field, source.path, f"git lfs pull --include {'/'.join(inside)}"
        tensors = read_header(path)
    except (ValueError, RecursionError, OSError) as error:
        return "B4", field, f"{source.path}: {error}", "record it again"
    if source.tensor_key not in tensors:
        text = f"{source.tensor_key!r} is not among {', '.join(sorted(tensors)) or 'none'}"
        return "B5", field, text, "correct tensor_key"
    return None


def check_tensor(
    definition: Definition, workload: Workload, name: str, entry: Entry
) -> Iterator[Problem]:
    """Shape and dtype of a recorded input against the definition."""
    field = f"workload.inputs.{name}"
    axes = {**workload.axes, **definition.const_axes}
    spec = definition.inputs[name]
    if spec.shape is not None and all(axis in axes for axis in spec.shape):
        want = [axes[axis] for axis in spec.shape]
        if entry.shape != want:
            text = f"shape {entry.shape}, the axes give {want}"
            yield "B6", field, text, "correct the axes or the tensor"
    if entry.name != spec.dtype.value:
        yield "B7", field, f"{entry.name}, declared {spec.dtype.value}", "convert the tensor"


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
        if problem := _bounds(name, values, axes):
            yield "B9", field, problem, "correct the index or the axis"
        if name == "kv_last_page_len" and (problem := _last_pages(values, loaded, axes)):
            yield "B10", field, problem, "1 to page_size; 0 for a request without pages"
    if problem := _table(loaded, axes):
        yield "B9", "workload.inputs.block_table", problem, "correct the table or the lengths"


def _bounds(name: str, values: numpy.ndarray, axes: Mapping[str, int]) -> str | None:
    if name not in BELOW or not values.size or not all(axis in axes for axis in BELOW[name]):
        return None
    limit = math.prod(axes[axis] for axis in BELOW[name])
    least = -1 if name in PADDED else 0
    if values.min() < least or values.max() >= limit:
        return f"{values.min()} to {values.max()}, allowed {least} to {limit - 1}"
    return None


def _table(loaded: Mapping[str, numpy.ndarray], axes: Mapping[str, int]) -> str | None:
    """A block table's used entries, by the lengths where they are at hand."""
    table, lengths = loaded.get("block_table"), loaded.get("seq_lens")
    page_size, pages = axes.get("page_size"), axes.get("num_pages")
    if table is None or table.ndim != 2 or not page_size or pages is None:
        return None
    used = table
    if lengths is not None and lengths.shape == table.shape[:1]:
        most = table.shape[1] * page_size
        if lengths.size and (lengths.min() < 0 or lengths.max() > most):
            return f"seq_lens are {lengths.min()} to {lengths.max()}, the table holds {most}"
        counts = -(-lengths.astype("int64") // page_size)
        # Beyond a request's pages a table may hold anything.
        columns = (table[:1] * 0 + 1).cumsum(axis=1) - 1
        used = table[columns < counts[:, None]] if table.size else table
    if used.size and (used.min() < 0 or used.max() >= pages):
        return f"{used.min()} to {used.max()}, allowed 0 to {pages - 1}"
    return None


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
