"""Arguments of a call: a hashable key for the hot path, their JSON form, and what is kept.

The JSON form is read by `kernelkit.capture.recorded.decode_value`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Any

import torch

INDEX_DTYPES = (torch.int32, torch.int64)
# Float tensors that are per-request settings, not activations.
SETTINGS = frozenset({"top_p", "top_k", "min_p", "maybe_top_p_arr", "maybe_min_p_arr", "top_p_arr"})
# Scalars that differ call by call and mean nothing later.
VOLATILE = frozenset(
    {"seed", "offset", "philox_seed", "philox_offset", "generator", "indices_seed"}
)
_PLAIN = frozenset({type(None), bool, int, float, str})
_Tensor = torch.Tensor
_TENSORS = frozenset({torch.Tensor, torch.nn.Parameter})  # looked up faster than isinstance


def key_of(values: Iterable[Any]) -> tuple[Any, ...]:
    """A hashable stand-in for some arguments: equal where the form is.

    Values of tensors do not count, nor do strides (those of the first call of a form are written).
    """
    parts: list[Any] = []
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            parts.append(value)
        elif kind in _TENSORS or isinstance(value, _Tensor):
            parts.append(value.shape)
            parts.append(value.dtype)
        elif isinstance(value, (torch.dtype, enum.Enum)):
            parts.append(value)
        elif isinstance(value, (tuple, list)):
            parts.append(key_of(value))
        elif isinstance(value, dict):
            parts.append(key_of_named(value))
        else:
            parts.append(kind)
    return tuple(parts)


def key_of_named(named: dict[str, Any]) -> tuple[Any, ...]:
    """The same for keyword arguments, without those that differ call by call."""
    if VOLATILE.isdisjoint(named):
        return (*named, *key_of(named.values()))
    return key_of_named({name: value for name, value in named.items() if name not in VOLATILE})


def encode(value: Any, name: str = "") -> Any:
    """The JSON form of an argument."""
    if name in VOLATILE:
        return {"o": "volatile"}
    if isinstance(value, _Tensor):
        return {"t": [list(value.shape), dtype_name(value.dtype), _stride(value), _device(value)]}
    if isinstance(value, enum.Enum):
        plain = value.value if type(value.value) in _PLAIN else str(value.value)
        return {"e": [type(value).__name__, value.name, plain]}
    if isinstance(value, tuple(_PLAIN)):
        return value
    if isinstance(value, torch.dtype):
        return {"d": dtype_name(value)}
    if isinstance(value, (tuple, list)):
        kind = "u" if isinstance(value, tuple) else "l"
        return {kind: [encode(item) for item in value]}
    if isinstance(value, dict):
        return {"m": {str(key): encode(item) for key, item in value.items()}}
    return {"o": type(value).__name__}


def kept(name: str, value: Any, max_bytes: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors in an argument whose values are kept, with their paths (`name`, `name.0`)."""
    if isinstance(value, _Tensor):
        if _is_kept(name, value, max_bytes):
            yield name, value
    elif isinstance(value, (tuple, list)):
        for position, item in enumerate(value):
            yield from kept(f"{name}.{position}", item, max_bytes)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from kept(f"{name}.{key}", item, max_bytes)


def dtype_name(dtype: torch.dtype) -> str:
    """ "bfloat16", not "torch.bfloat16"."""
    return str(dtype).removeprefix("torch.")


def _is_kept(name: str, tensor: torch.Tensor, max_bytes: int) -> bool:
    is_setting = name in SETTINGS and tensor.dtype in (torch.float32, torch.float64)
    if not (tensor.dtype in INDEX_DTYPES or is_setting):
        return False
    if tensor.device.type not in ("cpu", "cuda"):
        return False
    return tensor.numel() * tensor.element_size() <= max_bytes


def _stride(tensor: torch.Tensor) -> list[int]:
    return list(tensor.stride()) if tensor.layout == torch.strided else []


def _device(tensor: torch.Tensor) -> str:
    return tensor.device.type
