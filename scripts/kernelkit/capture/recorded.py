"""Recorded arguments: what a record's JSON stands for, taken apart with its types looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TensorValue:
    """A tensor argument; `dtype` as in "int32"; `digest` when its values are kept."""

    shape: tuple[int, ...]
    dtype: str
    stride: tuple[int, ...]
    device: str
    digest: str | None = None


@dataclass(frozen=True)
class EnumValue:
    """A member of an enumeration."""

    type: str
    name: str
    value: Any


@dataclass(frozen=True)
class DtypeValue:
    """A torch.dtype, e.g. "bfloat16"."""

    name: str


@dataclass(frozen=True)
class OpaqueValue:
    """Any other object: only its type is kept."""

    type: str


def whole(value: object) -> int:
    """The value, a whole number. Raises TypeError."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def text(value: object) -> str:
    """The value, a text. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def decode_value(value: Any, path: str = "", blobs: dict[str, str] | None = None) -> Any:
    """A value from its JSON form (see `kernelkit.capture.recorder.values.encode`).

    Tensors take their digest from `blobs` by their path: `name`, `name.0` for a tuple's item.
    """
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()  # ValueError where there are more
    if kind == "t":
        shape, dtype, stride, device = body
        digest = (blobs or {}).get(path)
        shape, stride = (tuple(map(whole, sizes)) for sizes in (shape, stride))
        if any(size < 0 for size in shape):
            raise ValueError(f"shape {shape}")
        return TensorValue(shape, text(dtype), stride, text(device), digest)
    if kind in ("l", "u"):
        items = [decode_value(item, f"{path}.{i}", blobs) for i, item in enumerate(body)]
        return items if kind == "l" else tuple(items)
    if kind == "m":
        return {name: decode_value(item, f"{path}.{name}", blobs) for name, item in body.items()}
    return {"e": lambda: EnumValue(*body), "d": lambda: DtypeValue(body)}.get(
        kind, lambda: OpaqueValue(str(body))
    )()
