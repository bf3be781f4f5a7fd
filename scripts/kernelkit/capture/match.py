"""Recorded calls to workloads: find each call's definition, bind its axes, name it by content."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit import ops
from kernelkit.capture.calls import Recorded, Shaped, convert, forward_sizes
from kernelkit.capture.level10 import Call
from kernelkit.dataset.definition import AxisConst, Definition, TensorSpec
from kernelkit.dataset.tags import fi_api_of
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import KernelkitError

if TYPE_CHECKING:
    import numpy

NAMESPACE = uuid.UUID("8f0d9f0e-7f0c-5b63-9d3a-6b1f6a6c2a10")  # of this pack's workloads


@dataclass(frozen=True)
class Row:
    """A workload: its definition, its line, and its recorded tensors by input name."""

    definition: Definition
    line: Trace
    tensors: dict[str, numpy.ndarray]


@dataclass
class Found:
    """The workloads of a dump without repetition, and what was left out or assumed."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def workloads(calls: list[Call], definitions: list[Definition]) -> Found:
    """The workloads that `calls` show for `definitions`.

    GEMMs are no FlashInfer calls in SGLang: theirs follow from the tokens of each forward step,
    for definitions that share a model with the norms that were called.
    """
    recorded, notes = convert(calls)
    found = Found(notes=notes)
    seen: set[str] = set()
    models: dict[int, set[str]] = {}
    for item in recorded:
        matching = [d for d in definitions if _matches(d, item)]
        if not matching:
            notes.append(f"no definition for {_describe(item)}")
        for definition in matching:
            _add(found, seen, make_row(definition, item))
            if "residual" in item.inputs:
                size = item.inputs["weight"].shape[0]
                models.setdefault(size, set()).update(_model_tags(definition))
        notes += item.notes
    sizes = {size: rows for size, rows in forward_sizes(recorded).items() if size in models}
    for definition in definitions:
        for size, rows in sizes.items():
            if _is_layer_of(definition, size, models[size]):
                for tokens in rows:
                    _add(found, seen, _gemm_row(definition, tokens))
    if any(row.definition.op_type == "gemm" for row in found.rows):
        notes.append("gemm: M is the number of tokens of each recorded forward step")
    found.notes = list(dict.fromkeys(notes))
    return found


def make_row(definition: Definition, item: Recorded) -> Row:
    """The workload of a call that matches `definition`. Raises KeyError where it does not."""
    axes = bind(definition, item)
    if axes is None:
        raise KeyError(f"{definition.name} does not match {_describe(item)}")
    values = {n: item.inputs[n] for n in definition.inputs if n in item.inputs}
    kept = {n: v for n, v in values.items() if not isinstance(v, (Shaped, int, float))}
    identity = _identity(definition, axes, values)
    path = f"blob/workloads/{definition.op_type}/{definition.name}"
    blob = f"{path}/{definition.name}_{identity.hex}.safetensors"
    inputs: dict[str, Any] = {}
    for name, value in values.items():
        if name in kept:
            inputs[name] = SafetensorsInput(path=blob, tensor_key=name)
        elif isinstance(value, Shaped):
            inputs[name] = RandomInput()
        else:
            inputs[name] = ScalarInput(value=value)
    line = Workload(uuid=str(identity), axes=axes, inputs=inputs)
    return Row(definition, Trace(definition=definition.name, workload=line), kept)


def bind(definition: Definition, item: Recorded) -> dict[str, int] | None:
    """The variable axes under which the recorded shapes are the definition's; None if none."""
    axes = dict(definition.const_axes)
    for name, spec in definition.inputs.items():
        value = item.inputs.get(name)
        if value is None:
            if spec.optional:
                continue
            return None
        if not _bind_input(spec, value, axes):
            return None
    if any(axis not in axes for axis in definition.var_axes):
        return None
    return {axis: axes[axis] for axis in definition.var_axes}


def _bind_input(spec: TensorSpec, value: object, axes: dict[str, int]) -> bool:
    """Extend `axes` by one input; False where it contradicts them."""
    if spec.shape is None or isinstance(value, (int, float)):
        return spec.shape is None and isinstance(value, (int, float))
    shape, dtype = value.shape, str(value.dtype)
    if dtype != spec.dtype.value or len(shape) != len(spec.shape):
        return False
    return all(
        axes.setdefault(axis, size) == size for axis, size in zip(spec.shape, shape, strict=True)
    )


def _matches(definition: Definition, item: Recorded) -> bool:
    try:
        api = fi_api_of(definition.tags)
        if api is None or api.split(".")[-1] != item.api or bind(definition, item) is None:
            return False
        fixed = ops.family(definition.op_type).semantics(definition)
    except KernelkitError:
        return False
    return all(_same(fixed.get(name), value) for name, value in item.semantics.items())


def _same(ours: object, recorded: object) -> bool:
    if isinstance(ours, float) and isinstance(recorded, (int, float)):
        return math.isclose(ours, recorded, rel_tol=1e-6)
    return ours == recorded


def _identity(definition: Definition, axes: dict[str, int], values: dict[str, Any]) -> uuid.UUID:
    """A uuid of the content, so that the same call gives the same workload on every run."""
    digest = hashlib.sha256(json.dumps([definition.name, axes], sort_keys=True).encode())
    for name, value in values.items():
        if isinstance(value, Shaped):
            continue
        content = repr(value).encode() if isinstance(value, (int, float)) else value.tobytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return uuid.uuid5(NAMESPACE, digest.hexdigest())


def _is_layer_of(definition: Definition, hidden_size: int, models: set[str]) -> bool:
    """Whether a GEMM definition is a linear layer over the tokens of a model that ran."""
    if definition.op_type != "gemm" or not models & set(_model_tags(definition)):
        return False
    sizes = [a.value for a in definition.axes.values() if isinstance(a, AxisConst)]
    return definition.var_axes == ["M"] and hidden_size in sizes


def _gemm_row(definition: Definition, tokens: int) -> Row:
    known = {**definition.const_axes, "M": tokens}
    shapes = {
        name: Shaped(tuple(known[axis] for axis in spec.shape or []), spec.dtype.value)
        for name, spec in definition.inputs.items()
    }
    return make_row(definition, Recorded("gemm", shapes))


def _model_tags(definition: Definition) -> list[str]:
    return [tag for tag in definition.tags if tag.startswith("model:")]


def _add(found: Found, seen: set[str], row: Row) -> None:
    if row.line.workload.uuid not in seen:
        seen.add(row.line.workload.uuid)
        found.rows.append(row)


def _describe(item: Recorded) -> str:
    shapes = ", ".join(
        f"{name} {tuple(value.shape)} {value.dtype}"
        for name, value in item.inputs.items()
        if not isinstance(value, (int, float))
    )
    fixed = "".join(f", {name} {value:g}" for name, value in item.semantics.items())
    return f"{item.api}: {shapes}{fixed}"
