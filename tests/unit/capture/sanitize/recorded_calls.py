"""Recorded calls by hand, and the definitions that they fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelkit.capture.sanitize import calls
from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.calls import Call, Origin, TensorArg, Unusable
from kernelkit.capture.sanitize.matching import Fit, Matcher
from kernelkit.capture.sanitize.payload import Payload
from kernelkit.dataset.definition import Definition

ORIGIN = Origin("level10")


def floats(*shape: int, dtype: str = "bfloat16") -> TensorArg:
    """A tensor of which nothing is recorded but its form."""

    def absent() -> Payload:
        raise Unusable(calls.NO_DATA)

    return TensorArg(shape, dtype, absent)


def values(held: Any, dtype: str = "int32") -> TensorArg:
    """A tensor with its data."""
    array = np.array(held, dtype)
    payload = Payload(dtype, array.shape, array.tobytes())
    return TensorArg(array.shape, dtype, lambda: payload)


def call_of(api: str, arguments: dict[str, Any], plan: dict[str, Any] | None = None) -> Call:
    """A call of the API, after a plan where it has one."""
    call = Call(api, APIS[api].method, arguments, "here", ORIGIN)
    if plan is not None:
        call.plan = Call(api, "plan", plan, "before", ORIGIN)
    return call


def best(call: Call, *definitions: Definition) -> Fit:
    """How well the definition fits that fits best."""
    observed = APIS[call.api].read(call, True)
    return Matcher(list(definitions)).fits(call.api, observed)[0]


def fits(call: Call, *definitions: Definition) -> list[str]:
    """The definitions that the call computes."""
    observed = APIS[call.api].read(call, True)
    found = Matcher(list(definitions)).fits(call.api, observed)
    return [fit.definition.name for fit in found if not fit.differences]
