"""By what a traced call is known, so that the same call is entered once."""

from __future__ import annotations

from typing import Any

from kernelkit.sglang.interpret.machine import Machine
from kernelkit.sglang.interpret.values import Choice, External, ExternalObject, FunctionRef, Unknown


def key(
    m: Machine, function: FunctionRef, args: list[Any], kwargs: dict[str, Any], receiver: Any
) -> Any:
    """While tracing, one function is entered once for one receiver and the same arguments."""
    if not m.tracing:
        return None
    values = [*args, *(v for _, v in sorted(kwargs.items()))]
    return (id(function.node), id(receiver), *map(_print, values))


def _print(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, (Unknown, Choice)):
        return "open"
    if isinstance(value, (list, tuple)):
        return tuple(map(_print, value))
    if isinstance(value, (External, ExternalObject)):
        return value.path
    return id(value)
