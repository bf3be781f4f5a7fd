"""Checks of one workload line against its definition."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernelkit.dataset import constraints
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.validate import blobs
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import FormatError

# Integer tensors that random values break: they are offsets, ids or lengths.
INDEX = re.compile(r"indptr|indices|last_page_len|seq_?lens|block_table|positions|topk_ids")


def check_workload(root: Path, definition: Definition, line: Trace) -> Iterator[Problem]:
    """Faults of a workload line that loads, for its definition."""
    if not line.is_workload:
        yield "W3", "solution", "is set", "a workload line has null there"
    workload = line.workload
    yield from _axes(definition, workload)
    yield from _inputs(definition, workload)
    loaded: dict[str, Any] = {}
    for name, source in workload.inputs.items():
        if not isinstance(source, SafetensorsInput) or name not in definition.inputs:
            continue
        problem = blobs.blob_problem(root, source, f"workload.inputs.{name}")
        if problem:
            yield problem
            continue
        entry = blobs.read_header(root / source.path).tensors[source.tensor_key]
        faults = list(blobs.check_tensor(definition, workload, name, entry))
        yield from faults
        if blobs.DTYPES.get(str(entry["dtype"])) in blobs.INTEGERS:
            loaded[name] = blobs.load_integers(root / source.path, source.tensor_key)
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
    for name, source in workload.inputs.items():
        spec = definition.inputs.get(name)
        if spec is None:
            continue
        field, is_scalar = f"workload.inputs.{name}", spec.shape is None
        recorded, number = isinstance(source, SafetensorsInput), isinstance(source, ScalarInput)
        if (is_scalar and recorded) or (number and not is_scalar):
            kind = "a scalar" if is_scalar else "a tensor"
            yield "W6", field, f"{source.type} for {kind}", "scalar for scalars, else a tensor"
        elif isinstance(source, RandomInput) and not is_scalar and _is_index(name, spec):
            text = f"random {spec.dtype.value} for {name}"
            yield "W6", field, text, "record index tensors: random ones read out of bounds"


def _is_index(name: str, spec: Any) -> bool:
    return spec.dtype.value in blobs.INTEGERS and bool(INDEX.search(name))


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
    for text in definition.constraints:
        try:
            holds = constraints.evaluate(text, scope)
        except (constraints.NotKnown, FormatError):
            continue  # unknown values; faults of the constraint are the definition's
        if not holds:
            values = ", ".join(
                f"{n}={scope[n]}" for n in sorted(constraints.names(text)) if n in workload.axes
            )
            yield "W8", "workload.axes", f"{text!r} with {values}", "correct axes or tensors"
