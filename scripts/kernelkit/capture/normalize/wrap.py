"""The reference's text: the main function renamed to `run`, or a `run` that calls it.

Where inputs and parameters agree in names and order, renaming is enough. Else a small `run` is
added that binds constants, hands over bytes in their own type, and keeps its inputs unchanged.
"""

from __future__ import annotations

from kernelkit.capture.normalize.interface import Interface
from kernelkit.capture.normalize.raw import Refusal
from kernelkit.capture.normalize.source import Program, rename_main, with_torch


def reference(program: Program, made: Interface) -> str:
    """The text of a reference with `run`. Raises Refusal where an output has no known shape."""
    if _fits(program, made):
        return rename_main(program, "run")
    name = program.main.name if program.main.name != "run" else "run_template"
    text = rename_main(program, name)
    return with_torch(text.rstrip("\n") + "\n\n\n" + "\n".join(_run(name, program, made)) + "\n")


def _fits(program: Program, made: Interface) -> bool:
    """Whether the main function takes the inputs in order and returns the outputs."""
    plain = [p.name for p in program.parameters if not p.keyword_only]
    needed = [p.name for p in program.parameters if p.default is None]
    return (
        plain[: len(made.inputs)] == list(made.inputs)
        and set(needed) <= set(made.inputs)
        and set(made.arguments) <= set(made.inputs)
        and not (made.views or made.buffers or made.clones or program.open_ended)
        and None not in made.results
        and not any(program.writes(parameter) for parameter in made.inputs)
    )


def _run(name: str, program: Program, made: Interface) -> list[str]:
    """The lines of `run`."""
    lines = ["@torch.no_grad()", f"def run({', '.join(made.inputs)}):"]
    for parameter, out in made.buffers.items():
        if parameter not in made.inputs:
            lines.append(f"    {parameter} = {_empty(out, made)}")
        else:
            lines.append(f"    {parameter} = {parameter}.clone()")
    arguments = []
    for parameter, value in made.arguments.items():
        changed = program.writes(parameter) and value == parameter
        inner = f"{value}.clone()" if changed and parameter not in made.buffers else value
        if parameter in made.buffers:
            inner = inner.replace(f"{parameter}.clone()", parameter)
        arguments.append(f"{parameter}={inner}")
    lines.append(f"    result = {name}({', '.join(arguments)})")
    return lines + _returns(made)


def _returns(made: Interface) -> list[str]:
    """What `run` returns, in the outputs' order."""
    if not made.results:
        values = [_held(parameter, out, made) for parameter, out in made.buffers.items()]
        return [f"    return {', '.join(values)}"]
    if len(made.results) == 1:
        unpack = "    result = result[0] if isinstance(result, (tuple, list)) else result"
        return [unpack, f"    return {_held('result', made.results[0], made)}"]
    values = [_held(f"result[{i}]", out, made) for i, out in enumerate(made.results) if out]
    return [f"    return {', '.join(values)}"]


def _held(expression: str, out: str | None, made: Interface) -> str:
    """The expression in the type that the format holds it in."""
    if out not in made.views:
        return expression
    return f"{expression}.view(torch.{made.outputs[out]['dtype']})"


def _empty(out: str, made: Interface) -> str:
    """A new buffer for an output."""
    spec = made.outputs[out]
    sizes = [_size(axis, made) for axis in spec["shape"] or []]
    first = next((n for n, s in made.inputs.items() if s["shape"]), None)
    if first is None:
        raise Refusal("axis-unbound", f"no input tells the device of {out}")
    dtype = made.views.get(out, spec["dtype"])
    return f"torch.zeros({', '.join(sizes)}, dtype=torch.{dtype}, device={first}.device)"


def _size(axis: str, made: Interface) -> str:
    """An axis as an expression of the inputs."""
    held = made.axes.get(axis, {})
    if held.get("type") == "const":
        return str(held["value"])
    for name, spec in made.inputs.items():
        if axis in (spec["shape"] or []):
            return f"{name}.shape[{spec['shape'].index(axis)}]"
    raise Refusal("axis-unbound", f"no input has the axis {axis} of an output")
