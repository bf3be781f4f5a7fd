"""Recorded calls as the context that the normaliser reads beside the raw dumps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernelkit.capture import recording
from kernelkit.capture.normalize.context import (
    CONTEXT_FILE,
    CallContext,
    TensorFact,
    write_line,
)
from kernelkit.capture.recorded import DtypeValue, EnumValue, TensorValue
from kernelkit.capture.recording import Call
from kernelkit.dataset import atomic

_ABOUT = ("model", "tp", "ep", "server_page_size", "weights")


def write_context(recordings: Path, dump: Path) -> int:
    """Write `dump`/context.jsonl from the recordings below `recordings`; returns the lines.

    One line for each kind of call: calls that differ in the number of tokens, requests or pages
    alone are one kind, told by the first of them.
    """
    found: dict[str, tuple[CallContext, int]] = {}
    for path in recording.find(recordings):
        for context, count in contexts(recording.Recording.open(path)):
            key = _kind(context)
            first, before = found.get(key, (context, 0))
            found[key] = (first, before + count)
    lines = [
        write_line(context.model_copy(update={"calls": count})) for context, count in found.values()
    ]
    atomic.write_text(dump / CONTEXT_FILE, "".join(lines))
    return len(lines)


def _kind(context: CallContext) -> str:
    """The call without its layer and the first dimension of what has rows or is an index."""
    rows = {
        side: {name: _without_rows(fact) for name, fact in getattr(context, side).items()}
        for side in ("tensors", "plan_tensors")
    }
    return context.model_copy(update={**rows, "layer": None}).model_dump_json()


def _without_rows(fact: TensorFact) -> TensorFact:
    has_rows = len(fact.shape) > 1 or fact.dtype.startswith("int")
    return TensorFact(shape=fact.shape[1:] if has_rows else fact.shape, dtype=fact.dtype)


def contexts(opened: recording.Recording) -> Iterator[tuple[CallContext, int]]:
    """The context of each recorded call but plans, with the number of such calls."""
    versions = opened.header.get("versions") or {}
    about = {name: opened.header.get(name) for name in (*_ABOUT, "rank")}
    about |= {name: versions.get(name) for name in ("sglang", "flashinfer")}
    plans: dict[int, Call] = {}
    for call in opened.calls():
        if call.api.method == "plan":
            plans[call.number] = call
            continue
        plan = plans.get(call.plan) if call.plan is not None else None
        yield _context(call, plan, about), call.count


def _context(call: Call, plan: Call | None, about: dict[str, Any]) -> CallContext:
    tensors, scalars = _split(call.bound)
    plan_tensors, plan_scalars = _split(plan.bound) if plan is not None else ({}, {})
    held = {name: value for name, value in call.attributes.items() if _is_plain(value)}
    return CallContext(
        api=f"{call.api.path}.run" if call.api.method == "run" else call.api.path,
        tensors=tensors,
        scalars=scalars,
        plan={**plan_scalars, **held},
        plan_tensors=plan_tensors,
        layer=call.layer,
        **about,
    )


def _split(bound: dict[str, Any]) -> tuple[dict[str, TensorFact], dict[str, Any]]:
    """Tensors by path (`name`, `name.0`), and what is plain by name."""
    tensors: dict[str, TensorFact] = {}
    scalars: dict[str, Any] = {}
    for name, value in bound.items():
        tensors |= dict(_tensors(name, value))
        if isinstance(value, EnumValue):
            scalars[name] = value.value
        elif isinstance(value, DtypeValue):
            scalars[name] = value.name
        elif _is_plain(value):
            scalars[name] = value
    return tensors, scalars


def _tensors(name: str, value: Any) -> Iterator[tuple[str, TensorFact]]:
    if isinstance(value, TensorValue):
        fact = TensorFact(
            shape=list(value.shape), dtype=value.dtype, stride=list(value.stride) or None
        )
        yield name, fact
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _tensors(f"{name}.{index}", item)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
