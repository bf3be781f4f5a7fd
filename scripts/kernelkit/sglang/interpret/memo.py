"""By what a traced call is known, so that the same call is entered once."""

from __future__ import annotations

from typing import Any

from kernelkit.sglang.interpret.machine import Event, Machine
from kernelkit.sglang.interpret.values import (
    PLAIN,
    Choice,
    External,
    ExternalObject,
    FunctionRef,
    Unknown,
)


class _Identity(int):
    """What stands for an object in a key: only as long as the object is there."""


def key(
    m: Machine, function: FunctionRef, args: list[Any], kwargs: dict[str, Any], receiver: Any
) -> Any:
    """While tracing, one function is entered once for one receiver and the same arguments. The
    key's first element tells whether what is kept under it holds for other layers too."""
    if not m.tracing:
        return None
    values = [*args, *(v for _, v in sorted(kwargs.items()))]
    prints = tuple(map(_print, values))
    lasts = receiver is None and not function.closure and not any(map(_has_identity, prints))
    return (lasts, id(function.node), id(receiver), *prints)


def held(m: Machine, key: Any) -> Any:
    """What an earlier call left under the key; None where there was none."""
    return None if key is None else (m.lasting if key[0] else m.memo).get(key)


def keep(
    m: Machine, key: Any, result: Any, events: list[Event], conditions: int, chain: int
) -> None:
    """Keep what a call gave. A call that was not followed to its end, because the layer's trace
    had used up its budget, is no answer for the next layer."""
    if key is not None and (m.budget > 0 or not key[0]):
        (m.lasting if key[0] else m.memo)[key] = (result, events, conditions, chain)


def _has_identity(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_has_identity, value))
    return isinstance(value, _Identity)


def _print(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, Unknown):
        return "open"
    if isinstance(value, Choice):  # what can be called of it decides what is seen
        held = [_print(o) for o in value.options if not isinstance(o, (Unknown, *PLAIN))]
        return ("open", *held) if held else "open"
    if isinstance(value, (list, tuple)):
        return tuple(map(_print, value))
    if isinstance(value, (External, ExternalObject)):
        return value.path
    return _Identity(id(value))
