"""The file that Trace Apply calls: the template's arguments in, the live call's outputs out.

Trace Apply imports the entry file alone, by its path, and calls its function by keyword. A
solution's sources may import one another relatively, so they travel in the folder `solution/` and
are loaded as a package.
"""

from __future__ import annotations

from kernelkit.dataset.definition import Definition, TensorSpec
from kernelkit.dataset.solution import Solution
from kernelkit.publish.deploy.routes import Form, Route

FILE, FUNCTION, FOLDER = "deployed.py", "apply", "solution"

_HEAD = '''"""{name} by {author}, for FlashInfer calls named {live}. Generated; do not edit."""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import torch

SOURCES = Path(__file__).parent / "{folder}"
PACKAGE = f"{{__name__}}_sources"


def package():
    """The solution's folder as a package, so that its files import one another."""
    start = SOURCES / "__init__.py"
    if not start.is_file():
        made = types.ModuleType(PACKAGE)
        made.__path__ = [str(SOURCES)]
        sys.modules[PACKAGE] = made
        return
    spec = importlib.util.spec_from_file_location(
        PACKAGE, start, submodule_search_locations=[str(SOURCES)]
    )
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACKAGE])


package()
RUN = getattr(importlib.import_module(PACKAGE + "{module}"), "{symbol}")


def expect(name, value, dtype):
    """Raises TypeError for an element type that was never measured."""
    if value.dtype is not dtype:
        raise TypeError(f"{{name}} is {{value.dtype}}; {name} was verified for {{dtype}} only")


def per_row(value, probs, dtype):
    """A number for all rows, or one for each."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype)
    return torch.full((probs.shape[0],), value, dtype=dtype, device=probs.device)


'''


def sources(definition: Definition, route: Route, solution: Solution) -> dict[str, str]:
    """Path and text of every file of the deployed solution, the entry first."""
    moved = {f"{FOLDER}/{source.path}": source.content for source in solution.sources}
    return {FILE: text(definition, route, solution), **moved}


def text(definition: Definition, route: Route, solution: Solution) -> str:
    """The entry file."""
    file, _, symbol = solution.spec.entry_point.partition("::")
    module = "." + file.removesuffix(".py").replace("/", ".")
    head = _HEAD.format(name=solution.name, author=solution.author, live=route.live, module=module,
                        symbol=symbol, folder=FOLDER)  # fmt: skip
    return head + _called(definition, solution) + "\n\n" + _apply(definition, route)


def _called(definition: Definition, solution: Solution) -> str:
    """`called`: the definition's inputs in their order, its outputs returned in theirs."""
    names = ", ".join(definition.inputs)
    if not solution.spec.destination_passing_style:
        return f"def called({names}):\n    return RUN({names})\n"
    outputs = ", ".join(definition.outputs)
    made = "".join(_allocated(definition, n, s) for n, s in definition.outputs.items())
    return f"def called({names}):\n{made}    RUN({names}, {outputs})\n    return {outputs}\n"


def _allocated(definition: Definition, name: str, spec: TensorSpec) -> str:
    shape = ", ".join(_size(definition, axis) for axis in spec.shape or [])
    device = next(n for n, s in definition.inputs.items() if s.shape is not None)
    return (
        f"    {name} = torch.empty(({shape},), dtype=torch.{spec.dtype.value}, "
        f"device={device}.device)\n"
    )


def _size(definition: Definition, axis: str) -> str:
    """An axis as a literal, or read off the first input that has it."""
    if axis in definition.const_axes:
        return str(definition.const_axes[axis])
    return next(
        f"{name}.shape[{spec.shape.index(axis)}]"
        for name, spec in definition.inputs.items() if axis in (spec.shape or [])
    )  # fmt: skip


def _apply(definition: Definition, route: Route) -> str:
    checks = "".join(
        f'    expect("{name}", {name}, torch.{spec.dtype.value})\n'
        for name, spec in definition.inputs.items()
        if spec.shape is not None and "float" in spec.dtype.value and name != "top_p"
    )
    head, body = _FORMS[route.form](definition)
    return f"@torch.no_grad()\ndef {FUNCTION}({head}):\n{checks}{body}"


def _value(definition: Definition) -> tuple[str, str]:
    """A norm: rows may have further dimensions in front."""
    first, *rest = definition.inputs
    size = list(definition.const_axes.values())[-1]
    body = (
        f"    rows = {first}.reshape(-1, {size})\n"
        f"    return called({', '.join(['rows', *rest])}).view({first}.shape)\n"
    )
    return ", ".join(definition.inputs), body


def _residual(definition: Definition) -> tuple[str, str]:
    names = ", ".join(definition.inputs)
    return names, f"    return called({names}), hidden_states + residual\n"


def _lse(definition: Definition) -> tuple[str, str]:
    """The scale may be left to FlashInfer, which then takes 1 / sqrt of the query's last axis."""
    names = [name for name in definition.inputs if name != "sm_scale"]
    first = definition.inputs[names[0]].shape or []
    size = definition.const_axes[first[-1]]
    body = (
        f"    sm_scale = {size**-0.5!r} if sm_scale is None else float(sm_scale)\n"
        f"    output, lse = called({', '.join(definition.inputs)})\n"
        "    return (output, lse) if return_lse else output\n"
    )
    return ", ".join([*names, "sm_scale=None", "return_lse=False"]), body


def _samples(definition: Definition) -> tuple[str, str]:
    filters = [name for name in definition.inputs if name != "probs"]
    types = {"top_k": "torch.int32", "top_p": "torch.float32"}
    body = "".join(f"    {n} = per_row({n}, probs, {types[n]})\n" for n in filters)
    names = ", ".join(definition.inputs)
    return names, body + f"    return called({names}).to(torch.int32)\n"


_FORMS = {Form.VALUE: _value, Form.RESIDUAL: _residual, Form.LSE: _lse, Form.SAMPLES: _samples}
