"""What a call says in the dataset's words, and the checks that the readings of calls share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kernelkit.capture.sanitize.calls import (
    BAD_DTYPE,
    BAD_INDEX,
    CONTRADICTION,
    NAN,
    NO_PLAN,
    OTHER_SEMANTICS,
    Call,
    TensorArg,
    Unusable,
)

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Shaped:
    """An input of which shape and dtype count; `source` where the recorded tensor is that input
    as it stands."""

    shape: tuple[int, ...]
    dtype: str
    source: TensorArg | None = None


@dataclass(frozen=True)
class Kept:
    """An input whose values matter: offsets, indices, settings of requests."""

    array: numpy.ndarray

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.array.shape)

    @cached_property
    def dtype(self) -> str:
        """Its element type."""
        return str(self.array.dtype)


@dataclass(frozen=True)
class Observed:
    """A call as a definition sees it. `inputs` values: Shaped, Kept, or a number.

    `facts` must equal what the definition's reference fixes (eps, causal, routing); `constants`
    proves axes that no tensor carries. `assumed` names what no record holds.
    """

    inputs: Mapping[str, Any]
    facts: Mapping[str, object] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def tensor(call: Call, name: str) -> TensorArg:
    """A tensor argument. Raises Unusable where it is something else."""
    value = call.arguments.get(name)
    if not isinstance(value, TensorArg):
        raise Unusable(OTHER_SEMANTICS, f"{name} is {_said(value)}, not a tensor")
    return value


def shaped(value: TensorArg) -> Shaped:
    """A tensor whose values do not matter."""
    return Shaped(value.shape, value.dtype, value)


def number(call: Call, name: str) -> int:
    """An integer argument. Raises Unusable where it is none."""
    value = call.arguments.get(name)
    if type(value) is not int:
        raise Unusable(OTHER_SEMANTICS, f"{name} is {_said(value)}, not an integer")
    return value


def index(value: TensorArg, dtype: str = "int32") -> numpy.ndarray:
    """The values of an index tensor as `dtype`. Raises Unusable where they do not fit it."""
    import numpy

    array = value.read().array()
    if value.dtype == dtype:
        return array
    if array.dtype.kind not in "iu":
        if array.dtype.kind == "f" and numpy.isnan(array).any():
            raise Unusable(NAN, f"{value.dtype} with NaN")
        raise Unusable(BAD_DTYPE, f"{value.dtype} where {dtype} is needed")
    limits = numpy.iinfo(dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise Unusable(BAD_INDEX, f"{array.min()} to {array.max()} do not fit {dtype}")
    return array.astype(dtype)


def plan_of(call: Call) -> Call:
    """The plan of a run. Raises Unusable without one."""
    if call.plan is None:
        raise Unusable(NO_PLAN)
    return call.plan


def agree(strict: bool, what: str, **values: int) -> int:
    """The value on which plan and tensors agree. Raises Unusable where they do not (and strict)."""
    if strict and len(set(values.values())) > 1:
        text = ", ".join(f"{where} {value}" for where, value in values.items())
        raise Unusable(CONTRADICTION, f"{what}: {text}")
    return next(iter(values.values()))


def rank(value: TensorArg | Shaped, expected: int, name: str) -> None:
    """Raises Unusable unless a tensor has that many dimensions."""
    if len(value.shape) != expected:
        text = f"{name} has shape {list(value.shape)}, not {expected} dimensions"
        raise Unusable(CONTRADICTION, text)


def plain(call: Call, *names: str, allowed: tuple[object, ...] = (None,)) -> None:
    """Raises Unusable where an argument that changes what is computed is set."""
    for name in names:
        value = call.attributes.get(name, call.arguments.get(name))
        if not any(value is item or value == item for item in allowed if _same_kind(value, item)):
            raise Unusable(OTHER_SEMANTICS, f"{name} is {_said(value)}")


def _same_kind(value: object, item: object) -> bool:
    """Tensors compare with nothing; 1 and 1.0 are the same, True and 1 are not."""
    return isinstance(value, TensorArg) is False and isinstance(value, bool) is isinstance(
        item, bool
    )


def _said(value: object) -> str:
    if isinstance(value, TensorArg):
        return f"a tensor of {list(value.shape)}"
    if isinstance(value, dict) and "type" in value:
        return f"a {value['type']}"
    return "absent" if value is None else repr(value)
