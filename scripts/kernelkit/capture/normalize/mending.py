"""What a trial run shows of a definition made by the plain rules, and can be put right.

A template guesses the type of an output where the call passed no buffer, and its reference may
return float32 for a 16-bit output. An op type's family may fail to make inputs for an interface
that is not its own.
"""

from __future__ import annotations

import re

from kernelkit.capture.normalize.plain import under_own_type
from kernelkit.capture.normalize.reading import Reading
from kernelkit.capture.normalize.source import parse, rename_main, with_torch
from kernelkit.dataset.definition import Definition, DType
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.ops import OP_TYPES

_TYPES = re.compile(r"(?P<got>\w+), declared (?P<declared>\w+)")
_ROUNDED = ("bfloat16", "float16")


def mend(definition: Definition, problems: list[Problem], reading: Reading) -> Definition | None:
    """A definition without the problems, to be run again; None where nothing can be done."""
    changed = definition
    for code, place, message, _ in problems:
        match = _TYPES.fullmatch(message)
        if code == "R15" and match and place.startswith("outputs."):
            name = place.removeprefix("outputs.")
            changed = _typed(changed, name, match["got"], match["declared"], reading)
        elif code in ("R14", "R16") and changed.op_type in OP_TYPES:
            changed = under_own_type(changed, reading)
    return None if changed is definition else changed


def _typed(
    definition: Definition, name: str, got: str, declared: str, reading: Reading
) -> Definition:
    """Round a float32 result to the declared 16 bits; else declare what the reference returns."""
    if got == "float32" and declared in _ROUNDED:
        reading.notes.append(f"the reference's float32 {name} is rounded to {declared}")
        return definition.model_copy(update={"reference": _rounding(definition, name, declared)})
    if got not in {dtype.value for dtype in DType}:
        return definition
    reading.notes.append(f"output {name} is {got}, as the reference returns it, not {declared}")
    spec = definition.outputs[name].model_copy(update={"dtype": DType(got)})
    return definition.model_copy(update={"outputs": {**definition.outputs, name: spec}})


def _rounding(definition: Definition, name: str, dtype: str) -> str:
    """The reference with one output cast at its end."""
    number = list(definition.outputs).index(name)
    inner = f"run_exact_{number}"
    text = rename_main(parse(definition.reference), inner).rstrip("\n")
    arguments = ", ".join(definition.inputs)
    many = len(definition.outputs) > 1
    lines = ["@torch.no_grad()", f"def run({arguments}):"]
    if many:
        lines.append(f"    values = list({inner}({arguments}))")
        lines.append(f"    values[{number}] = values[{number}].to(torch.{dtype})")
        lines.append("    return tuple(values)")
    else:
        lines.append(f"    return {inner}({arguments}).to(torch.{dtype})")
    return with_torch(text + "\n\n\n" + "\n".join(lines) + "\n")
