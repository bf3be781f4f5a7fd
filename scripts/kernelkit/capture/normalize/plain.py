"""Dumps of APIs that no family stands for: the template's own interface, made valid."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from kernelkit.capture.normalize import interface, source, wrap
from kernelkit.capture.normalize.raw import Refusal, public_api
from kernelkit.capture.normalize.reading import Reading
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.errors import KernelkitError
from kernelkit.ops import OP_TYPES, family

# References that compute something else than the API does, whatever the call.
FALSE = {
    "trtllm_bf16_routed_moe": "it weighs all chosen experts alike; the API takes their weights",
    "trtllm_fp8_block_scale_routed_moe": "it weighs all chosen experts alike; the API takes their "
    "weights",
    "MultiLevelCascadeAttentionWrapper": "it attends over one level",
    "mm_fp8": "it reads the blocks [K / b, N, b] of B as [K, N]",
}
_SIZES = re.compile(r"((_d)?_[a-z]+[0-9]+)+$")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.]*")


def definition_of(reading: Reading, flashinfer: Path | None) -> Definition:
    """The definition of a dump by the mechanical rules. Raises Refusal with the first obstacle.

    flashinfer: a folder that holds `flashinfer/`, for helpers that a reference calls and the dump
    lacks.
    """
    dump = reading.dump
    if dump.function in FALSE:
        raise Refusal("reference-false", f"the template's reference: {FALSE[dump.function]}")
    text, added = source.complete(_reference(reading), flashinfer)
    if added:
        reading.notes.append(f"helpers from FlashInfer's sources: {', '.join(added)}")
    program = source.parse(text)
    made = interface.build(dump, program, reading.call, reading.varying)
    reading.notes += made.notes
    name = _identifier(dump.name)
    document = {
        "name": name,
        "description": dump.document.get("description") or None,
        "op_type": _identifier(str(dump.document["op_type"])),
        "tags": _tags(reading),
        "axes": made.axes,
        "constraints": made.constraints,
        "inputs": made.inputs,
        "outputs": made.outputs,
        "reference": wrap.reference(program, made),
    }
    try:
        return _placed(Definition.model_validate(document), reading)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refusal("format", f"{place}: {first['msg']}".lstrip(": ")) from None


def _placed(definition: Definition, reading: Reading) -> Definition:
    """Under its op type, or, where that one's family cannot serve it, under one of its own.

    Inputs, cost and tolerance come from the family of an op type: `moe` knows its own forms only.
    """
    if definition.op_type not in OP_TYPES:
        return definition
    op = family(definition.op_type)
    try:
        axes = op.small_axes(definition)
        op.cost(definition, axes)
        op.tolerance(definition)
        if set(definition.var_axes) <= set(axes):
            return definition
    except (KernelkitError, LookupError):
        pass
    return under_own_type(definition, reading)


def under_own_type(definition: Definition, reading: Reading) -> Definition:
    """The definition with its name, without sizes, as op type."""
    own = _SIZES.sub("", definition.name) or definition.name
    own = reading.dump.function.lower() if own in OP_TYPES else own
    reading.notes.append(f"op type {own}: the family {definition.op_type} has no such interface")
    return definition.model_copy(update={"op_type": own})


def aside(definition: Definition) -> Definition:
    """The definition under an op type of no family, for a trial run of its own."""
    return definition.model_copy(update={"op_type": "trial"})


def _reference(reading: Reading) -> str:
    """The dump's reference; it is parsed first, so that one without a function is refused."""
    return source.parse(reading.dump.document.get("reference")).text


def _identifier(text: str) -> str:
    """A name in the dataset's form: lower case. Raises Refusal for one that is no file name."""
    lower = text.lower()
    if not _NAME.fullmatch(lower):
        raise Refusal("name", f"{text!r} is no name of a definition")
    return lower


def _tags(reading: Reading) -> list[str]:
    """The dump's tags without its status: `verified` there says nothing of tests."""
    api = public_api(reading.dump.api)
    tags = [fi_api_tag(api)] if api else []
    others = [str(tag) for tag in reading.dump.document.get("tags") or []]
    return tags + [tag for tag in others if not tag.startswith(("fi_api:", "status:"))]
