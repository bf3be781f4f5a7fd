"""The interface of a dumped template as the format has it: inputs, outputs, axes, constraints.

What a definition cannot hold is left out of it and becomes part of the reference: flags and other
arguments that the dump does not record take the recorded value or the reference's default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kernelkit.capture.normalize import axes
from kernelkit.capture.normalize.context import CallContext, Plain
from kernelkit.capture.normalize.raw import UNKNOWN, RawDump, Refusal
from kernelkit.capture.normalize.source import Parameter, Program
from kernelkit.dataset.definition import DType

# Index tensors that plan() takes: the tracer sees only what run() gets.
INDEX_DTYPES = {
    "kv_indptr": "int32", "kv_indices": "int32", "qo_indptr": "int32", "kv_last_page_len": "int32",
    "paged_kv_indptr": "int32", "paged_kv_indices": "int32", "paged_kv_last_page_len": "int32",
    "cu_seqlens": "int64",
}  # fmt: skip
# Arguments that change no value of the result, or one that no reference has.
FLAGS = (
    "return_lse", "return_lse_base", "enable_pdl", "launch_with_pdl", "use_pdl", "workspace_buffer",
    "workspace", "backend", "ckv_scale", "ckv_scale_arr", "kpe_scale", "per_token_scale",
    "gemm1_alpha", "gemm1_beta", "gemm1_clamp_limit", "do_finalize", "tune_max_num_tokens",
    "disable_state_update", "cache_replayssm", "use_qk_l2norm",
)  # fmt: skip
# Types that the format lacks, and the one that holds the same bytes.
CONTAINERS = {"uint8": "int8", "uint16": "int16", "uint32": "int32", "uint64": "int64",
              "float8_e8m0fnu": "int8", "float4_e2m1fn_x2": "int8"}  # fmt: skip
RENAMED = {"query": "q_out", "key": "k_out", "q": "q_out", "k": "k_out", "out": "output",
           "state": "new_state"}  # fmt: skip
ALLOWED = {dtype.value for dtype in DType}


@dataclass
class Interface:
    """What the definition declares, and how the reference's parameters follow from it.

    arguments: parameter -> expression. views: tensors that the reference wants in another type
    than the format has, by name. results: what becomes of each value that the reference returns
    (an output's name, or None: dropped); empty where it returns nothing. buffers: outputs that it
    writes into a parameter. clones: inputs that it changes.
    """

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    axes: dict[str, dict[str, Any]] = field(default_factory=dict)
    constraints: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)
    results: list[str | None] = field(default_factory=list)
    buffers: dict[str, str] = field(default_factory=dict)
    clones: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def build(
    dump: RawDump, program: Program, call: CallContext | None, varying: frozenset[str]
) -> Interface:
    """The interface of a dump; numbers that vary from call to call are inputs.

    Raises Refusal with what stands in the way.
    """
    made = Interface()
    recorded: dict[str, Plain] = {**(call.plan if call else {}), **(call.scalars if call else {})}
    known = {name: value for name, value in recorded.items() if name not in varying}
    _inputs(made, dump, program, known, varying)
    _outputs(made, dump, program)
    _arguments(made, dump, program, known)
    axes.set_axes(made, dump, known)
    axes.set_constraints(made, dump)
    return made


def _inputs(
    made: Interface, dump: RawDump, program: Program, known: dict[str, Plain],
    varying: frozenset[str],
) -> None:  # fmt: skip
    """Keep what the reference takes and the format can hold."""
    parameters = {p.name: p for p in program.parameters}
    positions = [p for p in program.parameters if not p.keyword_only]
    declared = dump.document["inputs"]
    for number, (name, spec) in enumerate(declared.items()):
        parameter = parameters.get(name)
        if parameter is None and number < len(positions) and positions[number].name not in declared:
            parameter = positions[number]
        if name in FLAGS:
            continue
        if parameter is None and name not in dump.document["outputs"]:
            made.notes.append(f"input {name} left out: the reference does not take it")
        elif spec.get("shape") is None:
            if name in varying or _is_input(name, spec, parameter, dump, known):
                dtype = "float32" if spec["dtype"] == "float64" else spec["dtype"]
                made.inputs[name] = _spec(spec, dtype)
        elif dtype := _tensor_dtype(name, spec):
            made.inputs[name] = _spec(spec, CONTAINERS.get(dtype, dtype))
            if dtype in CONTAINERS:
                made.views[name] = dtype


def _is_input(
    name: str, spec: dict[str, Any], parameter: Parameter | None, dump: RawDump,
    known: dict[str, Plain],
) -> bool:  # fmt: skip
    """Whether a scalar stays an input: no constant, no flag, no word, and nothing recorded."""
    if name in dump.consts or spec.get("dtype") not in (*ALLOWED, "float64"):
        return False
    if spec["dtype"].startswith("float"):
        return True
    has_default = parameter is not None and parameter.default is not None
    return name not in known and not has_default


def _tensor_dtype(name: str, spec: dict[str, Any]) -> str | None:
    """The element type; None for an optional tensor that the call did not pass."""
    dtype = str(spec.get("dtype", UNKNOWN))
    if dtype == UNKNOWN:
        dtype = INDEX_DTYPES.get(name, UNKNOWN)
    if dtype == UNKNOWN:
        if spec.get("optional"):
            return None
        raise Refusal("dtype-unknown", f"the dump does not know the element type of {name}")
    if dtype not in ALLOWED and dtype not in CONTAINERS:
        raise Refusal("dtype-not-in-format", f"{name} is {dtype}, which the format cannot hold")
    return dtype


def _spec(spec: dict[str, Any], dtype: str) -> dict[str, Any]:
    kept = {"shape": spec.get("shape"), "dtype": dtype}
    if spec.get("description"):
        kept["description"] = spec["description"]
    return kept


def _outputs(made: Interface, dump: RawDump, program: Program) -> None:
    """Match outputs with what the reference returns; in-place ones get a name of their own."""
    declared: dict[str, dict[str, Any]] = dump.document["outputs"]
    if not declared:
        raise Refusal("no-outputs", "the template declares no output")
    count = program.returned()
    if count == 0:
        for name, spec in declared.items():
            _buffer(made, name, spec, program)
        return
    chosen = _chosen(declared, dump.document["inputs"], count)
    for name in chosen:
        out = _name(made, name, program) if name in made.inputs else name
        made.results.append(out)
        _declare(made, out, declared[name])


def _chosen(declared: dict[str, Any], inputs: dict[str, Any], count: int | None) -> list[str]:
    """The outputs that a reference with `count` results gives. Raises Refusal."""
    names = list(declared)
    required = [n for n in names if not declared[n].get("optional")]
    fresh = [n for n in names if n not in inputs]
    for candidate in (names, required, fresh, [n for n in required if n in fresh]):
        if candidate and count in (None, len(candidate)):
            return candidate
    raise Refusal(
        "outputs-differ",
        f"the reference returns {count} values, the template declares {', '.join(names)}",
    )


def _name(made: Interface, name: str, program: Program) -> str:
    """The name of an output that is also an input; the input goes where it is only written."""
    if name in made.inputs and program.only_written(name):
        made.notes.append(f"{name} is an output only: its buffer is made by the reference")
        made.buffers.setdefault(name, name)
        made.inputs.pop(name)
        return name
    made.clones.append(name)
    renamed = RENAMED.get(name, f"{name}_out")
    while renamed in made.inputs or renamed in made.outputs:
        renamed += "_out"
    made.notes.append(f"in-place output {name} renamed to {renamed}")
    return renamed


def _buffer(made: Interface, name: str, spec: dict[str, Any], program: Program) -> None:
    """An output of a reference that returns nothing: it writes into a parameter."""
    parameter = name if name in made.inputs else str(spec.get("param", name))
    if parameter not in {p.name for p in program.parameters}:
        raise Refusal("outputs-differ", f"the reference returns nothing and has no {parameter}")
    out = _name(made, parameter, program) if parameter in made.inputs else name
    made.buffers[parameter] = out
    _declare(made, out, spec)


def _declare(made: Interface, name: str, spec: dict[str, Any]) -> None:
    dtype = str(spec.get("dtype", UNKNOWN))
    if dtype not in ALLOWED and dtype not in CONTAINERS:
        code = "dtype-unknown" if dtype == UNKNOWN else "dtype-not-in-format"
        raise Refusal(code, f"output {name} is {dtype}")
    made.outputs[name] = _spec(spec, CONTAINERS.get(dtype, dtype))
    if dtype in CONTAINERS:
        made.views[name] = dtype


def _arguments(made: Interface, dump: RawDump, program: Program, known: dict[str, Plain]) -> None:
    """Where each parameter of the reference comes from. Raises Refusal for one that is lost."""
    renamed = _by_position(made, program)
    for parameter in program.parameters:
        name = parameter.name
        if name in renamed:
            made.arguments[name] = renamed[name]
        elif name in made.inputs:
            view = made.views.get(name)
            text = f"{name}.clone()" if name in made.clones else name
            made.arguments[name] = f"{text}.view(torch.{view})" if view else text
        elif name in made.buffers:
            made.arguments[name] = name
        elif name in dump.consts:
            made.arguments[name] = str(dump.const(name))
        elif name in known:
            made.arguments[name] = repr(known[name])
            made.notes.append(f"{name} fixed to the recorded {known[name]!r}")
        elif parameter.default is not None:
            if name in dump.document["inputs"] and name not in FLAGS:
                made.notes.append(f"{name} fixed to the reference's default {parameter.default}")
        elif name in FLAGS or dump.document["inputs"].get(name, {}).get("shape") is not None:
            made.arguments[name] = "None"  # changes no value, or was not passed
        elif place := _place(name, made):
            made.arguments[name] = place
        else:
            raise Refusal(
                "argument-lost", f"the reference needs {name}, whose value the dump does not hold"
            )


def _by_position(made: Interface, program: Program) -> dict[str, str]:
    """Parameters that stand where an input of another name does: parameter -> input."""
    names = [p.name for p in program.parameters if not p.keyword_only]
    pairs = zip(names, made.inputs, strict=False)
    return {p: i for p, i in pairs if p not in made.inputs and i not in names}


def _place(axis: str, made: Interface) -> str | None:
    """A variable axis as an expression of the inputs."""
    for name, spec in made.inputs.items():
        if axis in (spec["shape"] or []):
            return f"{name}.shape[{spec['shape'].index(axis)}]"
    return None
