"""Definition: an op's interface (axes, inputs, outputs, constraints) and its reference."""

from __future__ import annotations

import ast
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from kernelkit.dataset.base import FormatModel, NonEmptyString, NonNegativeInt


class DType(str, Enum):
    """The element types of the format."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT4_E2M1 = "float4_e2m1"
    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    BOOL = "bool"


ITEM_BYTES: dict[str, float] = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float4_e2m1": 0.5, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "bool": 1,
}  # fmt: skip


class AxisConst(FormatModel):
    """An axis whose value is part of the definition."""

    type: Literal["const"] = "const"
    value: NonNegativeInt
    description: str | None = None


class AxisVar(FormatModel):
    """An axis whose value each workload brings."""

    type: Literal["var"] = "var"
    description: str | None = None


Axis = Annotated[AxisConst | AxisVar, Field(discriminator="type")]


class TensorSpec(FormatModel):
    """A tensor: its shape as names of axes (None: a scalar) and its element type."""

    shape: list[NonEmptyString] | None
    dtype: DType
    optional: bool | None = None
    description: str | None = None

    @model_serializer(mode="wrap")
    def _keep_shape(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A scalar's `shape: null` is part of the format and survives exclude_none."""
        return {"shape": self.shape, **serialize(self)}


class Definition(FormatModel):
    """An op. The order of inputs and outputs is the order of `run`'s arguments and results."""

    name: NonEmptyString
    description: str | None = None
    op_type: NonEmptyString
    tags: list[NonEmptyString] = Field(default_factory=list)
    axes: dict[NonEmptyString, Axis]
    constraints: list[NonEmptyString] = Field(default_factory=list)
    inputs: dict[NonEmptyString, TensorSpec]
    outputs: dict[NonEmptyString, TensorSpec]
    reference: NonEmptyString

    @model_validator(mode="after")
    def _check(self) -> Definition:
        """The rules of flashinfer-bench 0.1.2. Raises ValueError."""
        try:
            module = ast.parse(self.reference)
        except SyntaxError as error:
            raise ValueError(f"reference is not valid Python: {error}") from None
        if not any(isinstance(n, ast.FunctionDef) and n.name == "run" for n in module.body):
            raise ValueError("reference has no top-level function 'run'")
        if both := set(self.inputs) & set(self.outputs):
            raise ValueError(f"names are both input and output: {', '.join(sorted(both))}")
        for constraint in self.constraints:
            try:
                ast.parse(constraint, mode="eval")
            except SyntaxError:
                raise ValueError(f"constraint is not an expression: {constraint!r}") from None
        for name, spec in {**self.inputs, **self.outputs}.items():
            for axis in spec.shape or []:
                if axis not in self.axes:
                    raise ValueError(f"tensor {name!r} names the undeclared axis {axis!r}")
        return self

    @property
    def const_axes(self) -> dict[str, int]:
        """Constant axes and their values."""
        return {n: a.value for n, a in self.axes.items() if isinstance(a, AxisConst)}

    @property
    def var_axes(self) -> list[str]:
        """Names of the variable axes, in order."""
        return [name for name, axis in self.axes.items() if isinstance(axis, AxisVar)]

    def shape_of(self, tensor: str, axes: dict[str, int]) -> tuple[int, ...] | None:
        """Concrete shape of an input or output; None for a scalar. Raises KeyError."""
        spec = self.inputs[tensor] if tensor in self.inputs else self.outputs[tensor]
        if spec.shape is None:
            return None
        known = {**axes, **self.const_axes}
        return tuple(known[axis] for axis in spec.shape)

    def signature(self) -> dict[str, object]:
        """What makes two definitions the same interface: all but text, tags and reference."""

        def specs(tensors: dict[str, TensorSpec]) -> list[tuple[object, ...]]:
            return [(n, s.shape, s.dtype.value, bool(s.optional)) for n, s in tensors.items()]

        return {
            "name": self.name,
            "op_type": self.op_type,
            "axes": [(n, getattr(a, "value", None)) for n, a in self.axes.items()],
            "constraints": list(self.constraints),
            "inputs": specs(self.inputs),
            "outputs": specs(self.outputs),
        }
