"""Output axes that no input has: what they are is measured on runs of two sizes.

A quantiser's packed rows and scale counts follow from its input, but the format binds an axis by
inputs alone. An axis that stays the same is constant; a flat output that grows with the only
variable axis gets the shape [that axis, constant]. Padded ones fit neither and stay refused.
"""

from __future__ import annotations

import re

from kernelkit.capture.normalize.source import parse, rename_main, with_torch
from kernelkit.dataset.definition import AxisConst, Definition
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.ops import trial

SIZES = (4, 12, 260)  # a layout that pads rows to 8, 16 or 128 shows in one of them
_SHAPE = re.compile(r"shape \[(?P<got>[\d, ]*)\], declared \[.*\]")


def unbound(definition: Definition) -> list[str]:
    """Variable axes that stand in outputs only."""
    bound = {axis for spec in definition.inputs.values() for axis in spec.shape or []}
    return [axis for axis in definition.var_axes if axis not in bound]


def probes(definition: Definition) -> list[Definition]:
    """The definition at each size, all axes constant, the unknown ones zero.

    Empty where more than one axis varies: then nothing tells which of them an output follows.
    """
    unknown = unbound(definition)
    varying = [axis for axis in definition.var_axes if axis not in unknown]
    if len(varying) != 1:
        return []
    found = []
    for size in SIZES:
        axes = {**trial.axes_of(definition), varying[0]: size, **dict.fromkeys(unknown, 0)}
        fixed = {axis: AxisConst(value=axes[axis]) for axis in definition.var_axes}
        update = {"axes": {**definition.axes, **fixed}, "name": f"{definition.name}_{size}",
                  "constraints": []}  # fmt: skip
        found.append(definition.model_copy(update=update))
    return found


def measured(definition: Definition, runs: list[list[Problem]]) -> Definition | None:
    """The definition with the axes that the runs of its probes show; None where they show none."""
    unknown = unbound(definition)
    varying = next(axis for axis in definition.var_axes if axis not in unknown)
    axes, outputs, flat = dict(definition.axes), dict(definition.outputs), []
    for axis in unknown:
        values = [_value(definition, axis, problems) for problems in runs]
        if None in values:
            return None
        known = [value for value in values if value is not None]
        if len(set(known)) == 1:
            axes[axis] = AxisConst(value=known[0])
            continue
        rows = [divmod(value, size) for value, size in zip(known, SIZES, strict=True)]
        users = [name for name, spec in outputs.items() if axis in (spec.shape or [])]
        if len(set(rows)) != 1 or rows[0][1] or any(outputs[n].shape != [axis] for n in users):
            return None
        axes[axis] = AxisConst(value=rows[0][0], description=f"For each {varying}.")
        for name in users:
            outputs[name] = outputs[name].model_copy(update={"shape": [varying, axis]})
        flat += users
    changed = definition.model_copy(update={"axes": axes, "outputs": outputs})
    return _reshaped(changed, flat) if flat else changed


def _value(definition: Definition, axis: str, problems: list[Problem]) -> int | None:
    """The size of an axis in a run: the place where an output's shape was not the declared one."""
    for name, spec in definition.outputs.items():
        if axis not in (spec.shape or []):
            continue
        for _, place, message, _ in problems:
            match = _SHAPE.fullmatch(message)
            if place == f"outputs.{name}" and match:
                got = [int(size) for size in match["got"].split(",") if size.strip()]
                if len(got) == len(spec.shape or []):
                    return got[(spec.shape or []).index(axis)]
    return None


def _reshaped(definition: Definition, names: list[str]) -> Definition:
    """The definition whose reference gives the named flat outputs by rows."""
    text = rename_main(parse(definition.reference), "run_flat").rstrip("\n")
    arguments = ", ".join(definition.inputs)
    lines = [
        "@torch.no_grad()",
        f"def run({arguments}):",
        f"    values = run_flat({arguments})",
        "    values = list(values) if isinstance(values, (tuple, list)) else [values]",
    ]
    for number, (name, spec) in enumerate(definition.outputs.items()):
        if name in names:
            size = definition.const_axes[(spec.shape or [])[1]]
            lines.append(f"    values[{number}] = values[{number}].reshape(-1, {size})")
    lines.append("    return tuple(values) if len(values) > 1 else values[0]")
    reference = with_torch(text + "\n\n\n" + "\n".join(lines) + "\n")
    return definition.model_copy(update={"reference": reference})
