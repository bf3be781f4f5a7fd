"""Axes and constraints of a dumped template: what its tensors use, with values that names tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelkit.capture.normalize.context import Plain
from kernelkit.capture.normalize.raw import RawDump, Refusal
from kernelkit.dataset import constraints
from kernelkit.errors import FormatError

if TYPE_CHECKING:
    from kernelkit.capture.normalize.interface import Interface


def set_axes(made: Interface, dump: RawDump, known: dict[str, Plain]) -> None:
    """The axes that the tensors use. Raises Refusal for a constant without a value."""
    specs = [*made.inputs.values(), *made.outputs.values()]
    used = {axis for spec in specs for axis in spec["shape"] or []}
    declared: dict[str, dict[str, Any]] = dump.document["axes"]
    declared = {**declared, **_undeclared(used - set(declared), made, dump)}
    bound = {axis for spec in made.inputs.values() for axis in spec["shape"] or []}
    for name, axis in declared.items():
        if name not in used and name not in dump.consts:
            continue
        made.axes[name] = dict(axis)
        value = axis.get("value")
        if axis["type"] == "var" and name in used and name not in bound:
            value = _solved(name, dump)
            value = quotient(name, dump.consts) if value is None else value
        elif axis["type"] == "const" and value is None:
            value = known.get(name)
        if axis["type"] == "const" and (type(value) is not int or value < 0):
            shown = "no value" if value is None else f"the value {value}"
            raise Refusal("axis-without-value", f"the constant axis {name} has {shown}")
        if type(value) is int:
            made.axes[name] |= {"type": "const", "value": value}


def _undeclared(names: set[str], made: Interface, dump: RawDump) -> dict[str, dict[str, Any]]:
    """Axes that a template uses and does not declare, as far as their names say what they are.

    Raises Refusal for others.
    """
    found = {}
    for name in sorted(names):
        value = quotient(name, dump.consts)
        if value is None:
            raise Refusal("axis-undeclared", f"tensors use {name}, which is no axis of the dump")
        made.notes.append(f"axis {name} is not declared; its name says {value}")
        found[name] = {"type": "const", "value": value}
    return found


def quotient(name: str, consts: dict[str, int]) -> int | None:
    """`1`, `K_div_32`, `hidden_div_2`, `K_div_block_size`: what the name says; None for nothing.

    An abbreviated dividend (`hidden` for `hidden_size`) counts where one constant alone fits.
    """
    if name.isdigit():
        return int(name)
    dividend, divided, divisor = name.partition("_div_")
    by = int(divisor) if divisor.isdigit() else consts.get(divisor)
    names = [n for n in consts if n == dividend] or [n for n in consts if n.startswith(dividend)]
    if not divided or not by or len(names) != 1 or consts[names[0]] % by:
        return None
    return consts[names[0]] // by


def _solved(name: str, dump: RawDump) -> int | None:
    """The value that an equality with constants alone gives an axis; None where there is none."""
    for text in dump.document.get("constraints") or []:
        left, equal, right = str(text).partition("==")
        sides = left.strip(), right.strip()
        if not equal or name not in sides:
            continue
        other = sides[1 - sides.index(name)]
        try:
            if constraints.names(other) <= set(dump.consts):
                return int(constraints.value(other, dump.consts))
        except FormatError:
            continue
    return None


def set_constraints(made: Interface, dump: RawDump) -> None:
    """Those that readers can evaluate; the others are named in a note."""
    names = {*made.axes, *made.inputs}
    consts = {n: a["value"] for n, a in made.axes.items() if a["type"] == "const"}
    for text in dump.document.get("constraints") or []:
        try:
            constraints.check(text)
            fits = constraints.names(text) <= names
        except FormatError:
            fits = False
        if not fits:
            made.notes.append(f"constraint left out: {text}")
        elif constraints.names(text) <= set(consts) and not constraints.evaluate(text, consts):
            raise Refusal("constraint-false", f"{text} is false for {consts}")
        else:
            made.constraints.append(text)
