"""OpFamily: everything that the pack knows about one op type, behind one small interface.

A family says how definitions follow from a ModelSpec, how inputs are made, what a call costs, how
outputs are compared, and which FlashInfer API it stands for. A new family is one module plus its
reference files.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import ITEM_BYTES, AxisConst, AxisVar, Definition, TensorSpec
from kernelkit.errors import UsageError
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import probing

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec
    from kernelkit.ops.flashinfer_call import FlashInferCall

_drawn_on: ContextVar[str] = ContextVar("device that draws normal values", default="cpu")

Axes = Mapping[str, int]
Inputs = dict[str, Any]  # name -> torch.Tensor, or a Python number for a scalar


@dataclass(frozen=True)
class Cost:
    """What one call must at least move and compute. Each family states its formula's source."""

    bytes_moved: float  # read once plus written once, from device memory
    flops: float  # a multiply-add counts as two

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.bytes_moved if self.bytes_moved else math.inf


@dataclass(frozen=True)
class Tolerance:
    """An element matches where |got - want| <= atol + rtol * |want|.

    matched_ratio of the elements must match (1.0: all). `samples` marks ops whose output is a
    random draw: they are compared by frequency, not by value.

    atol is for outputs near one. Where a row's root mean square is smaller, the absolute tolerance
    is at most `of_rms` times that (None: it never shrinks). Two sums see what an element cannot:
    `row_error` bounds |got - want| / |want| in the 2-norm of each row, `gain_error` the factor
    between got and want over the whole output. `each` holds the tolerances of outputs by name that
    are judged by another one.
    """

    atol: float
    rtol: float
    matched_ratio: float = 1.0
    samples: bool = False
    of_rms: float | None = 0.03
    row_error: float | None = None
    gain_error: float | None = None
    each: Mapping[str, Tolerance] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Variant:
    """A derived definition, and the name it takes where its own is held by another variant.

    Two models that differ only in what a name does not carry (rmsnorm's eps) share no definition:
    the second is written under `fallback_name`.
    """

    definition: Definition
    fallback_name: str | None = None


class OpFamily(ABC):
    """One op type. Instances have no state."""

    op_type: str
    divided_by: str | None = None  # "tp" or "ep" where the shapes depend on it

    @abstractmethod
    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """The family's definitions of a model under one parallelism, without model tags."""

    @abstractmethod
    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """Bytes and FLOPs of a call; `inputs` sharpens what axes alone leave open."""

    @abstractmethod
    def tolerance(self, definition: Definition) -> Tolerance:
        """How far a correct kernel may be from the reference."""

    @abstractmethod
    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Tiny values of all variable axes, for a smoke run on a CPU."""

    def flashinfer_call(self, definition: Definition) -> FlashInferCall | None:
        """A traced FlashInfer call with this definition's shapes; None where no template exists."""
        return None

    def semantics(self, definition: Definition) -> dict[str, object]:
        """What the reference fixes beyond the signature (e.g. eps): differs, then no sharing."""
        return {}

    def make_inputs(
        self,
        definition: Definition,
        axes: Axes,
        seed: int,
        device: str = "cpu",
        given: Mapping[str, Any] | None = None,
        *,
        drawn_there: bool = False,
    ) -> Inputs:
        """Valid, representative inputs in the definition's order, the same on every device.

        `given` inputs (recorded tensors, scalars) are used as they are. Made on the CPU, then
        moved. With `drawn_there`, normal values are drawn by the device's own generator, which is
        fast; then they are the same for one seed and one kind of device only. Raises UsageError
        where an axis has no value.
        """
        check_axes(definition, axes)
        values: Inputs = dict(given or {})
        absent = [name for name in definition.inputs if name not in values]
        if absent:
            values = {**self.index_inputs(definition, axes, generator(seed, "index")), **values}
        with _drawing_on(device if drawn_there else "cpu"):
            for name in absent:
                if name not in values:
                    rng = generator(seed, name)
                    values[name] = self.value_input(definition, name, axes, rng)
        return {name: to_device(values[name], device) for name in definition.inputs}

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Inputs that must agree with each other: indptr, indices, lengths. Default: none."""
        return {}

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """One independent input. Default: standard normal of its shape and dtype."""
        return normal(definition, name, axes, rng)

    def vary(
        self,
        definition: Definition,
        inputs: Inputs,
        rng: torch.Generator,
        *,
        indices: bool = True,
    ) -> Inputs:
        """Fresh contents for one more call, made from `inputs` on their device, none of them
        changed. Shapes, types and scalars stay; so do index tensors without `indices`. `rng` is a
        CPU generator."""
        changed = self.vary_values(definition, inputs, rng)
        if indices:
            changed = {**changed, **self.vary_indices(definition, inputs, rng)}
        return {name: changed.get(name, inputs[name]) for name in definition.inputs}

    def vary_values(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Fresh values. Default: every floating tensor rolled along its rows and columns."""
        return probing.vary(inputs, rng)

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Fresh index tensors that agree with each other. Default: none."""
        return {}

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """Named inputs of the same shapes that show errors which `inputs` hide at their size: what
        one token in 16k adds is below any tolerance, unless it is all that a column adds up to.
        Default: none."""
        return iter(())

    def undecided_rows(self, definition: Definition, inputs: Inputs) -> torch.Tensor | None:
        """Mask of output rows where right kernels may differ (ties in a routing). Default: none."""
        return None


def check_axes(definition: Definition, axes: Axes) -> None:
    """Raises UsageError unless every variable axis has a value."""
    if any(axis not in axes for axis in definition.var_axes):
        raise UsageError(
            f"{definition.name}: axes without a value", received=dict(axes),
            allowed=", ".join(definition.var_axes),
        )  # fmt: skip


def generator(seed: int, stream: str) -> torch.Generator:
    """A CPU generator for one named stream, independent of the other streams of the seed."""
    import torch

    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def torch_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of a format dtype (float4_e2m1 has no element type of its own: float32)."""
    import torch

    return torch.float32 if dtype == "float4_e2m1" else getattr(torch, dtype)


def normal(
    definition: Definition, name: str, axes: Axes, rng: torch.Generator, scale: float = 1.0
) -> Any:
    """Normal values of the input's shape and dtype; a Python float for a scalar. They lie where
    `make_inputs` draws: on the CPU, from `rng`; or on a device, from a generator of its own that
    `rng` seeds."""
    import torch

    spec = definition.inputs[name]
    shape = definition.shape_of(name, dict(axes))
    if shape is None:
        return float(torch.randn((), generator=rng)) * scale
    device = _drawn_on.get()
    if torch.device(device).type != "cpu":
        seed = int(torch.randint(1 << 62, (), generator=rng))
        rng = torch.Generator(device).manual_seed(seed)
    values = torch.randn(shape, generator=rng, device=device).mul_(scale)
    return values.to(torch_dtype(spec.dtype.value))


@contextmanager
def _drawing_on(device: str) -> Iterator[None]:
    """Within it `normal` draws on this device."""
    token = _drawn_on.set(device)
    try:
        yield
    finally:
        _drawn_on.reset(token)


def to_device(value: Any, device: str) -> Any:
    """A tensor on `device`; other values unchanged."""
    return value.to(device) if hasattr(value, "to") else value


def tensor_bytes(definition: Definition, name: str, axes: Axes) -> float:
    """Bytes of one input or output; a scalar counts nothing."""
    shape = definition.shape_of(name, dict(axes))
    if shape is None:
        return 0.0
    spec = definition.inputs.get(name) or definition.outputs[name]
    return math.prod(shape) * ITEM_BYTES[spec.dtype.value]


def all_bytes(definition: Definition, axes: Axes) -> float:
    """Bytes of all inputs and outputs together."""
    names = [*definition.inputs, *definition.outputs]
    return sum(tensor_bytes(definition, name, axes) for name in names)


def const(value: int, description: str | None = None) -> AxisConst:
    """A constant axis."""
    return AxisConst(value=value, description=description)


def var(description: str | None = None) -> AxisVar:
    """A variable axis."""
    return AxisVar(description=description)


def tensor(
    shape: str | None, dtype: str, description: str | None = None, *, optional: bool = False
) -> TensorSpec:
    """A tensor spec; `shape` as axis names parted by blanks, None for a scalar."""
    return TensorSpec(
        shape=None if shape is None else shape.split(),
        dtype=dtype,
        optional=True if optional else None,
        description=description,
    )
