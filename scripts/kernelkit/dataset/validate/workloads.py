"""Checks of one workload line against its definition."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernelkit.dataset import constraints
from kernelkit.dataset.definition import Definition, TensorSpec
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.validate import blobs
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.validate.header import INTEGERS, Entry, load_integers, read_header
from kernelkit.dataset.workload import (
    InputSource,
    RandomInput,
    SafetensorsInput,
    ScalarInput,
    Workload,
)
from kernelkit.errors import FormatError

# Integer tensors that random values break: they are offsets, ids or lengths.
INDEX = re.compile(r"indptr|indices|last_page_len|seq_?lens|block_table|positions|topk_ids")


def check_workload(root: Path, definition: Definition | None, line: Trace) -> Iterator[Problem]:
    """Faults of a workload line that loads; without its definition, those of line and blobs."""
    if not line.is_workload:
        yield "W3", "solution", "is set", "a workload line has null there"
    workload = line.workload
    recorded: dict[str, tuple[Path, Entry]] = {}
    for name, source in workload.inputs.items():
        if not isinstance(source, SafetensorsInput):
            continue
        if problem := blobs.blob_problem(root, source, f"workload.inputs.{name}"):
            yield problem
        else:
            path = root / source.path
            recorded[name] = path, read_header(path)[source.tensor_key]
    if definition is not None:
        yield from _against(definition, workload, recorded)


def _against(
    definition: Definition, workload: Workload, recorded: dict[str, tuple[Path, Entry]]
) -> Iterator[Problem]:
    yield from _axes(definition, workload)
    yield from _inputs(definition, workload)
    loaded: dict[str, Any] = {}
    for name, (path, entry) in recorded.items():
        if name not in definition.inputs:
            continue
        yield from blobs.check_tensor(definition, workload, name, entry)
        if entry.name in INTEGERS:
            loaded[name] = load_integers(path, entry)
    yield from blobs.check_values(definition, workload, loaded)
    yield from _constraints(definition, workload, loaded)


def _axes(definition: Definition, workload: Workload) -> Iterator[Problem]:
    missing = [axis for axis in definition.var_axes if axis not in workload.axes]
    surplus = [
        f"{axis}={value}"
        for axis, value in workload.axes.items()
        if axis not in definition.var_axes and definition.const_axes.get(axis) != value
    ]
    if missing or surplus:
        text = "; ".join(
            part
            for part in (
                f"missing {', '.join(missing)}" if missing else "",
                f"not variable: {', '.join(surplus)}" if surplus else "",
            )
            if part
        )
        yield "W4", "workload.axes", text, f"exactly {', '.join(definition.var_axes)}"
    for axis in ("num_pages", "batch_size", "M"):
        if workload.axes.get(axis) == 0:
            yield "W9", f"workload.axes.{axis}", f"{axis} is 0", "drop the workload"


def _inputs(definition: Definition, workload: Workload) -> Iterator[Problem]:
    required = [name for name, spec in definition.inputs.items() if not spec.optional]
    missing = [name for name in required if name not in workload.inputs]
    surplus = [name for name in workload.inputs if name not in definition.inputs]
    if missing or surplus:
        text = f"missing: {', '.join(missing) or '-'}; unknown: {', '.join(surplus) or '-'}"
        yield "W5", "workload.inputs", text, f"exactly {', '.join(definition.inputs)}"
    indices = index_inputs(definition)
    for name, source in workload.inputs.items():
        spec = definition.inputs.get(name)
        if spec is not None and (text := _misfit(name, spec, source, name in indices)):
            fix = "scalars are given by value, index tensors recorded: random ones read anywhere"
            yield "W6", f"workload.inputs.{name}", text, fix


def _misfit(name: str, spec: TensorSpec, source: InputSource, is_index: bool) -> str | None:
    """Why an input cannot come from that source, or None."""
    dtype = spec.dtype.value
    if spec.shape is None and not isinstance(source, ScalarInput):
        return f"{source.type} for a scalar"
    if spec.shape is not None and isinstance(source, ScalarInput):
        return "scalar for a tensor"
    if isinstance(source, RandomInput) and is_index:
        return f"random {dtype} for {name}"
    if isinstance(source, ScalarInput) and not _fits(source.value, dtype):
        return f"{source.value!r} for a scalar of {dtype}"
    return None


def _fits(value: int | float | bool, dtype: str) -> bool:
    if dtype == "bool":
        return type(value) is bool
    if dtype in INTEGERS:
        return type(value) is int
    return type(value) is not bool and -math.inf < value < math.inf


def index_inputs(definition: Definition) -> set[str]:
    """Integer tensors whose values matter: by their name, or because a constraint reads them."""
    read: set[str] = set()
    for text in definition.constraints:
        read |= constraints.names(text)
    return {
        name
        for name, spec in definition.inputs.items()
        if spec.dtype.value in INTEGERS and (INDEX.search(name) or name in read)
    }


def _constraints(
    definition: Definition, workload: Workload, loaded: dict[str, Any]
) -> Iterator[Problem]:
    scope: dict[str, Any] = {**workload.axes, **definition.const_axes}
    for name, spec in definition.inputs.items():
        if name in loaded:
            scope[name] = loaded[name]
        elif all(axis in scope for axis in spec.shape or []):
            shape = tuple(scope[axis] for axis in spec.shape or [])
            scope[name] = constraints.ShapeOnly(shape)
    for name, source in workload.inputs.items():
        if isinstance(source, ScalarInput) and name in definition.inputs:
            scope[name] = source.value
    for text in definition.constraints:
        used = constraints.names(text)
        if not used <= set(scope) or not _sound(text):
            continue  # a missing axis is W4's; the constraint's own faults are the definition's
        values = ", ".join(f"{n}={scope[n]}" for n in sorted(used & set(workload.axes)))
        try:
            if constraints.evaluate(text, scope):
                continue
            fault = f"{text!r} with {values}" if values else repr(text)
        except constraints.NotKnown:
            continue
        except FormatError as error:
            fault = str(error)
        yield "W8", "workload.axes", fault, "correct axes or tensors"


def _sound(text: str) -> bool:
    try:
        constraints.check(text)
    except FormatError:
        return False
    return True
