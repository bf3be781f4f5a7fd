"""Checks of one definition file: the raw document, then interface, constraints and sense."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from kernelkit.dataset import constraints
from kernelkit.dataset.base import FormatModel
from kernelkit.dataset.definition import (
    AxisConst,
    AxisVar,
    Definition,
    DType,
    TensorSpec,
)
from kernelkit.dataset.tags import fi_api_of
from kernelkit.errors import FormatError

Problem = tuple[str, str, str, str]  # code, field, message, fix

# An axis that the other divides: query heads of a group share a KV head, and so on.
DIVIDED = (("num_qo_heads", "num_kv_heads"), ("num_v_heads", "num_q_heads"),
           ("num_v_heads", "num_k_heads"), ("nheads", "ngroups"))  # fmt: skip
HEAD_DIMS = (16, 32, 64, 72, 80, 96, 112, 128, 160, 192, 256, 512, 576)
# Letters of a name, and the axes that they may stand for.
NAME_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "rmsnorm": {"h": ("hidden_size",)},
    "gemm": {"n": ("N",), "k": ("K",)},
    "gqa_paged": {"h": ("num_qo_heads",), "kv": ("num_kv_heads",), "d": ("head_dim",),
                  "ps": ("page_size",)},
    "gqa_ragged": {"h": ("num_qo_heads",), "kv": ("num_kv_heads",), "d": ("head_dim",)},
    "mla_paged": {"h": ("num_qo_heads",), "ckv": ("head_dim_ckv",), "kpe": ("head_dim_kpe",),
                  "ps": ("page_size",)},
    "mla_ragged": {"h": ("num_qo_heads",), "qk": ("qk_dim",), "vo": ("vo_dim",)},
    "dsa_paged": {"h": ("num_qo_heads", "num_index_heads"), "ckv": ("head_dim_ckv",),
                  "kpe": ("head_dim_kpe",), "d": ("index_head_dim",), "topk": ("topk",),
                  "ps": ("page_size",)},
    "gdn": {"qk": ("num_q_heads",), "v": ("num_v_heads",), "d": ("head_size",)},
    "mamba_ssu": {"h": ("nheads",), "d": ("head_dim",), "s": ("dstate",), "ng": ("ngroups",)},
    "moe": {"topk": ("top_k",), "e": ("num_local_experts", "num_experts"),
            "h": ("hidden_size",), "i": ("intermediate_size",)},
    "rope": {"d": ("head_size",), "rd": ("rotary_dim",)},
    "sampling": {"v": ("vocab_size",)},
}  # fmt: skip


def check_document(document: dict[str, Any]) -> Iterator[Problem]:
    """Faults of the raw document that keep it from being a Definition, each by itself."""
    yield from _unknown_fields(document)
    yield from _tensors(document)
    for name, axis in _mapping(document, "axes").items():
        if isinstance(axis, dict) and axis.get("type") == "const":
            value = axis.get("value")
            if type(value) is not int or value < 0:
                yield "S5", f"axes.{name}", f"value is {value!r}", "give a non-negative integer"
    both = sorted(set(_mapping(document, "inputs")) & set(_mapping(document, "outputs")))
    if both:
        yield "S4", "outputs", ", ".join(both), "rename the output, or drop an in-place result"
    if not _mapping(document, "outputs"):
        yield "S9", "outputs", "outputs are empty", "name at least one output"
    yield from _reference_text(document.get("reference"))
    for number, text in enumerate(_list(document, "constraints")):
        try:
            constraints.names(str(text))
        except FormatError:
            yield "S7", f"constraints[{number}]", repr(text), "write a Python comparison"


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _tensors(document: dict[str, Any]) -> Iterator[Problem]:
    axes = _mapping(document, "axes")
    allowed = [dtype.value for dtype in DType]
    for side in ("inputs", "outputs"):
        for name, spec in _mapping(document, side).items():
            if not isinstance(spec, dict):
                continue
            if spec.get("dtype") not in allowed:
                text = f"dtype is {spec.get('dtype')!r}"
                yield "S1", f"{side}.{name}.dtype", text, f"one of {', '.join(allowed)}"
            for axis in _list(spec, "shape"):
                if isinstance(axis, str) and axis not in axes:
                    yield ("S6", f"{side}.{name}.shape", f"axis {axis!r}",
                           "declare it under axes")  # fmt: skip


def _reference_text(text: object) -> Iterator[Problem]:
    if not isinstance(text, str) or not text.strip():
        yield "S2", "reference", "there is none", "write a PyTorch run(...)"
        return
    fault = syntax_fault(text)
    if fault is not None:
        yield "S3", "reference", fault, "mend the syntax"
        return
    body = ast.parse(text).body
    if not any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in body):
        yield "S3", "reference", "no top-level function run", "name the main function run"


def syntax_fault(text: str) -> str | None:
    """Why Python does not compile the text (some faults are none to its parser), or None."""
    try:
        compile(text, "source", "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "nested too deeply"
    return None


def _unknown_fields(document: dict[str, Any]) -> Iterator[Problem]:
    yield from unknown(document, Definition, "")
    for name, axis in _mapping(document, "axes").items():
        if isinstance(axis, dict):
            model = AxisConst if axis.get("type") == "const" else AxisVar
            yield from unknown(axis, model, f"axes.{name}.")
    for side in ("inputs", "outputs"):
        for name, spec in _mapping(document, side).items():
            if isinstance(spec, dict):
                yield from unknown(spec, TensorSpec, f"{side}.{name}.")


def unknown(document: dict[str, Any], model: type[FormatModel], where: str) -> Iterator[Problem]:
    """Keys that the model does not have."""
    for key in document:
        if key not in model.model_fields:
            known = ", ".join(model.model_fields)
            yield "S0", f"{where}{key}", f"{key!r} is ignored by every reader", f"one of {known}"


def undescribed(definition: Definition) -> int:
    """How many axes and tensors have no description, the definition counted as one."""
    parts = [definition, *definition.axes.values(), *definition.inputs.values()]
    return sum(not part.description for part in [*parts, *definition.outputs.values()])


def check_definition(definition: Definition) -> Iterator[Problem]:
    """Faults of a document that loads: what fails or lies when it is used."""
    yield from _bindings(definition)
    yield from _constraints(definition)
    yield from _heads(definition.const_axes)
    yield from _name(definition)
    for name, spec in definition.outputs.items():
        if spec.optional:
            yield "I2", f"outputs.{name}", "optional is ignored", "run returns every output"
    try:
        fi_api_of(definition.tags)
    except FormatError as error:
        yield "A4", "tags", str(error), "fi_api:flashinfer.<module>.<Name>"


def _bindings(definition: Definition) -> Iterator[Problem]:
    required = [s for s in definition.inputs.values() if not s.optional]
    bound = {axis for spec in required for axis in spec.shape or []}
    for axis in definition.var_axes:
        users = [s for s in definition.inputs.values() if axis in (s.shape or [])]
        if not users:
            yield "R7", f"axes.{axis}", "no input has it in its shape", "bind or drop the axis"
        elif axis not in bound and not _follows(definition, axis, bound):
            yield ("R8", f"axes.{axis}", "only optional inputs have it",
                   "bind it by a required input too")  # fmt: skip


def _follows(definition: Definition, axis: str, bound: set[str]) -> bool:
    """Whether an equality gives the axis from axes that required inputs bind."""
    equalities = [constraints.names(c) for c in definition.constraints if "==" in c]
    return any(axis in used and used - {axis} <= bound for used in equalities)


def _constraints(definition: Definition) -> Iterator[Problem]:
    known = set(definition.axes) | set(definition.inputs)
    for number, text in enumerate(definition.constraints):
        place = f"constraints[{number}]"
        try:
            constraints.check(text)
        except FormatError as error:
            yield "R10", place, str(error), "use axes, inputs, integers and comparisons"
            continue
        used = constraints.names(text)
        if used - known:
            text = f"{text!r} names {', '.join(sorted(used - known))}"
            yield "R9", place, text, "use names of axes and inputs"
            continue
        if used <= set(definition.const_axes) and not _holds(text, definition.const_axes):
            yield "R11", place, repr(text), "correct the constraint or the axes"


def _holds(text: str, sizes: dict[str, int]) -> bool:
    try:
        return constraints.evaluate(text, sizes)
    except FormatError:
        return False


def _heads(sizes: dict[str, int]) -> Iterator[Problem]:
    for many, few in DIVIDED:
        if many not in sizes or few not in sizes:
            continue
        if sizes[few] == 0 or sizes[many] % sizes[few]:
            text = f"{many} is {sizes[many]}, {few} is {sizes[few]}"
            fix = "a 3-D cache [tokens, heads, dim] was read as 4-D: use page_size 1 and its heads"
            trap = few == "num_kv_heads" and sizes[few] > sizes[many]
            yield "A1", f"axes.{few}", text, fix if trap else "check the model's head counts"
    for axis in ("head_dim", "qk_dim", "vo_dim"):
        if axis in sizes and sizes[axis] not in HEAD_DIMS:
            allowed = ", ".join(map(str, HEAD_DIMS))
            yield "A2", f"axes.{axis}", f"{axis} is {sizes[axis]}", f"usual: {allowed}"


def _name(definition: Definition) -> Iterator[Problem]:
    parts = NAME_PARTS.get(definition.op_type, {})
    for token in definition.name.split("_"):
        match = re.fullmatch(r"([a-z]+)(\d+)", token)
        if not match or match.group(1) not in parts:
            continue
        letters, number = match.group(1), int(match.group(2))
        held = [definition.const_axes[a] for a in parts[letters] if a in definition.const_axes]
        if held and number not in held:
            text = f"the name says {token}, the axis {parts[letters][0]} is {held[0]}"
            yield "A3", "name", text, "rename the definition or correct the axis"
