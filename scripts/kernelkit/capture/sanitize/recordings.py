"""Read the recorder's files as calls: plans are named there, attributes of wrappers are known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kernelkit.capture import recording
from kernelkit.capture.recorded import DtypeValue, EnumValue, OpaqueValue, TensorValue
from kernelkit.capture.sanitize.calls import (
    DAMAGED,
    INPUTS_ONLY,
    NO_DATA,
    Call,
    LeftOut,
    Origin,
    TensorArg,
    Unusable,
)
from kernelkit.capture.sanitize.payload import Payload
from kernelkit.errors import FormatError

PLAN = "plan"
LEFT_OUT = {
    "thinned": "not recorded: of a long row of like steps one in a few is kept",
    "graph_capture": "not recorded: made while a CUDA graph was captured",
    "memory": "not recorded: more waited to be written than the recorder may hold",
    "contents_per_form": "not recorded: index contents beyond the limit for one shape",
    "forms": "not recorded: shapes beyond the limit",
    "plan_dropped": "not recorded: their plan was not",
}


def read_calls(
    path: Path, root: Path, *, accept_incomplete: bool = False
) -> Iterator[Call | Unusable | LeftOut]:
    """Each distinct call of a file but plans, with its plan, or why it cannot be used."""
    place = path.relative_to(root).as_posix()
    try:
        opened = recording.Recording.open(path)
    except (FormatError, OSError, ValueError, KeyError, TypeError) as error:
        yield Unusable(DAMAGED, str(error), place)
        return
    origin = _origin(opened.header)
    plans: dict[int, Call] = {}
    for found in opened.calls():
        call = _call(opened, found, f"{place}:{found.number}", origin)
        if not found.completed and not accept_incomplete:
            yield Unusable(INPUTS_ONLY, "the call raised", call.place)
        elif call.method == PLAN:
            plans[found.number] = call
        else:
            call.plan = plans.get(found.plan) if found.plan is not None else None
            yield call
    yield from _left_out(opened)
    for problem in opened.problems:
        yield Unusable(DAMAGED, problem, place)


def _left_out(opened: recording.Recording) -> Iterator[LeftOut]:
    for event in opened.events:
        reason, count = event.detail.get("reason"), event.detail.get("count")
        if event.kind == "limit":
            yield LeftOut("not recorded: from here on the file had reached its limit", 1)
        elif isinstance(reason, str) and isinstance(count, int):
            yield LeftOut(LEFT_OUT.get(reason, f"not recorded: {reason}"), count)


def _origin(header: dict[str, Any]) -> Origin:
    versions = header.get("versions") or {}
    return Origin(
        "recording",
        model=header.get("model"),
        sglang_version=versions.get("sglang"),
        flashinfer_version=versions.get("flashinfer"),
        weights=header.get("weights"),
        rank=header.get("rank"),
    )


def _call(opened: recording.Recording, found: recording.Call, place: str, origin: Origin) -> Call:
    return Call(
        api=found.api.name.removeprefix("CUDAGraph"),
        method=found.api.method,
        arguments={name: _value(opened, value) for name, value in found.bound.items()},
        place=place,
        origin=origin,
        process=opened.path,
        wrapper=found.object,
        attributes={name: _value(opened, value) for name, value in found.attributes.items()},
        step=found.step,
        layer=found.layer,
        count=found.count,
    )


def _value(opened: recording.Recording, value: object) -> object:
    if isinstance(value, TensorValue):
        return TensorArg(value.shape, value.dtype, partial(_payload, opened, value))
    if isinstance(value, (tuple, list)):
        return tuple(_value(opened, item) for item in value)
    if isinstance(value, EnumValue):
        return value.value
    if isinstance(value, DtypeValue):
        return value.name
    if isinstance(value, OpaqueValue):
        return {"type": value.type}
    return value


def _payload(opened: recording.Recording, value: TensorValue) -> Payload:
    if value.digest is None:
        raise Unusable(NO_DATA, "the recorder kept shape and type of this tensor alone")
    try:
        array = opened.array(value)
    except (FormatError, ValueError, TypeError) as error:
        raise Unusable(DAMAGED, str(error)) from None
    return Payload(value.dtype, value.shape, array.tobytes())
