"""By what a traced call is known, so that the same call is entered once."""

from __future__ import annotations

from typing import Any

from kernelkit.sglang.interpret.machine import Machine
from kernelkit.sglang.interpret.values import Choice, External, ExternalObject, FunctionRef, Unknown


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


def lasting(m: Machine) -> dict[Any, Any]:
    """What is kept for the next layer: calls of functions that see nothing of this one. Nothing
    where the layer's trace ended early, so that some calls were not followed to their end."""
    return {} if m.budget <= 0 else {k: kept for k, kept in m.memo.items() if k[0]}


def _has_identity(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_has_identity, value))
    return isinstance(value, _Identity)


def _print(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, (Unknown, Choice)):
        return "open"
    if isinstance(value, (list, tuple)):
        return tuple(map(_print, value))
    if isinstance(value, (External, ExternalObject)):
        return value.path
    return _Identity(id(value))
