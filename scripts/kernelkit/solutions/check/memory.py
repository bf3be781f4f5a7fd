"""Rules of memory: inputs left alone, outputs fully written, contiguous and of the right type."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.events import Event
from kernelkit.solutions.check.syntax import method_of
from kernelkit.solutions.check.values import SHUFFLES, Value

# Functions of libraries that write their arguments: positions and names of those.
IN_PLACE: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "fused_add_rmsnorm": ((0, 1), ("input", "residual")),
    "gemma_fused_add_rmsnorm": ((0, 1), ("input", "residual")),
    "apply_rope_inplace": ((0, 1), ("q", "k")),
    "apply_rope_pos_ids_inplace": ((0, 1), ("q", "k")),
    "apply_llama31_rope_inplace": ((0, 1), ("q", "k")),
    "apply_rope_with_cos_sin_cache_inplace": ((1, 2), ("query", "key")),
    "selective_state_update": ((0,), ("state",)),
    "gated_delta_rule_decode_pretranspose": ((3,), ("state",)),
    "gated_delta_rule_decode": ((3,), ("state",)),
    "causal_conv1d_update": ((1,), ("conv_state",)),
    "append_paged_kv_cache": ((4,), ("paged_kv_cache",)),
}
_WIDE_ONLY = {"gather": 1, "scatter": 1, "scatter_add": 1, "scatter_": 1, "scatter_add_": 1,
              "take_along_dim": 0, "scatter_reduce": 1, "take": 0}  # fmt: skip


def inputs_written(context: Context) -> Iterator[Finding]:
    """KS701, KS703."""
    for event in context.events("write", "accumulate"):
        names = ", ".join(sorted(event.value.alias))
        if not names:
            continue
        if event.value.sure:
            yield at("KS701", event, f"{event.name} on {names}")
        elif not _copied_anyway(event.value):
            yield at("KS703", event, f"{event.name} on what may be {names}")


def _copied_anyway(value: Value) -> bool:
    """A cast or a reshape of a permuted tensor copies in practice: no note."""
    return value.shuffled or "contiguous" in value.steps


def inputs_given_away(context: Context) -> Iterator[Finding]:
    """KS702."""
    for event in context.events("call"):
        name = event.name.rpartition(".")[2]
        if name not in IN_PLACE or event.name.startswith("."):
            continue
        places, keywords = IN_PLACE[name]
        held = [event.args[p] for p in places if p < len(event.args)]
        held += [event.keywords[k] for k in keywords if k in event.keywords]
        for value in held:
            if value.alias and value.sure:
                yield at("KS702", event, f"{name} writes {', '.join(sorted(value.alias))}")


def uninitialised(context: Context) -> Iterator[Finding]:
    """KS704, KS705."""
    for event in context.events("accumulate"):
        what = event.value.token if event.value.token in context.definition.outputs else ""
        yield at("KS704", event, f"{event.name} on {what or 'torch.empty'}")
    partly = context.flow.written - context.flow.settled
    for event in context.events("return"):
        for value in event.value.parts or (event.value,):
            if value.made == "empty" and value.token in partly:
                yield at("KS705", event, "of torch.empty, written behind a condition")
                partly = partly - {value.token}
    if context.passing and context.run is not None and context.home is not None:
        for name in [n for n in context.definition.outputs if n in partly]:
            yield finding(
                "KS705", context.home, context.run, f"{name} is written behind a condition"
            )


def returned(context: Context) -> Iterator[Finding]:
    """KS706, KS708, KS714 on what run returns."""
    if context.passing or context.mentions("autocast"):  # which decides types by operation
        return
    specs = list(context.definition.outputs.items())
    for event in context.events("return"):
        values = event.value.parts if event.value.made == "tuple" else (event.value,)
        if len(values) != len(specs):
            continue
        for (name, spec), value in zip(specs, values, strict=True):
            yield from _one_result(event, name, spec.dtype.value, value)


def _one_result(event: Event, name: str, dtype: str, value: Value) -> Iterator[Finding]:
    if value.dtype and value.dtype != dtype and dtype != "float4_e2m1":
        yield at("KS708", event, f"{name} is {value.dtype}, declared {dtype}")
    if value.alias and value.sure:
        yield at("KS714", event, f"{name} is {', '.join(sorted(value.alias))}")
    if value.steps and value.steps[-1] in SHUFFLES - {"chunk", "split", "narrow", "tensor_split"}:
        yield at("KS706", event, f"{name} ends in {value.steps[-1]}")


def squeezed(context: Context) -> Iterator[Finding]:
    """KS707."""
    for event in context.events("call"):
        node = event.node
        name = event.name.rpartition(".")[2]
        if name != "squeeze" or not isinstance(node, ast.Call) or node.keywords:
            continue
        given = len(node.args) - (1 if event.module.dotted(node.func) else 0)
        if given == 0 and not _becomes_number(event):
            yield at("KS707", event, "every axis of size 1 goes, also the batch")


def _becomes_number(event: Event) -> bool:
    holder = event.module.parents.get(event.node)
    return isinstance(holder, ast.Attribute) and holder.attr in ("item", "tolist")


def narrow_indices(context: Context) -> Iterator[Finding]:
    """KS709, KS710."""
    for event in context.events("call"):
        name = event.name.rpartition(".")[2]
        if name in _WIDE_ONLY:
            place = _WIDE_ONLY[name] + 1
            index = event.keywords.get("index") or (
                event.args[place] if place < len(event.args) else None
            )
            if index is not None and index.dtype == "int32":
                yield at("KS709", event, f"{name} wants int64, {_names(index)} is int32")
        offsets = event.keywords.get("cu_seqlens")
        if offsets is not None and event.name.startswith("fla") and offsets.dtype == "int32":
            yield at("KS710", event, f"cu_seqlens of {_names(offsets)} is int32")


def _names(value: Value) -> str:
    return ", ".join(sorted(value.data)) or "the index"


def wide_floats(context: Context) -> Iterator[Finding]:
    """KS715."""
    for module, node in context.hot():
        double = isinstance(node, ast.Call) and method_of(node) == "double" and not node.args
        if double or module.dotted(node) in ("torch.float64", "torch.double"):
            yield finding("KS715", module, node, ast.unparse(node))
            return


RULES: tuple[Rule, ...] = (
    inputs_written, inputs_given_away, uninitialised, returned, squeezed, narrow_indices,
    wide_floats,
)  # fmt: skip
