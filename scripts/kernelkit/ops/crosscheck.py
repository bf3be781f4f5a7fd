"""Hold a derived definition against what FlashInfer's trace template says of the same call.

A template's dump names axes and dtypes from the tensors of a call. It is no source of definitions
(its names, optional inputs and references differ), but where both know an axis or an input they
must agree; a difference is drift between FlashInfer and this pack.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.errors import KernelkitError, MissingDependencyError
from kernelkit.ops.flashinfer_call import FlashInferCall

UNKNOWN = "unknown"  # a template's dtype for an input that the call left out


@dataclass(frozen=True)
class Comparison:
    """How many axes and inputs both sides know, and where they disagree."""

    compared: int
    differences: tuple[str, ...]


def trace(call: FlashInferCall) -> dict[str, Any]:
    """The template's dump of a call.

    Raises MissingDependencyError without flashinfer, KernelkitError where the API is not there or
    has no template.
    """
    api: Any = _resolve(call.api)
    if not hasattr(api, "fi_trace"):
        raise KernelkitError("this FlashInfer API has no trace template", received=call.api)
    return api.fi_trace(**call.kwargs)


def _resolve(path: str) -> Any:
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != parts[0]:
                raise MissingDependencyError(
                    "flashinfer cannot be imported", received=error.name,
                    next_step="pip install flashinfer-python==0.6.12",
                ) from None  # fmt: skip
            continue
        try:
            for name in parts[count:]:
                found = getattr(found, name)
        except AttributeError:
            raise KernelkitError("no such FlashInfer API", received=path) from None
        return found
    raise MissingDependencyError(
        "flashinfer is not installed", next_step="pip install flashinfer-python==0.6.12"
    )


def compare(definition: Definition, call: FlashInferCall, dump: dict[str, Any]) -> Comparison:
    """Constant axes and input dtypes that both know."""
    compared, differences = 0, []
    for axis, value in definition.const_axes.items():
        theirs = dump["axes"].get(call.aliases.get(axis, axis), {}).get("value")
        if theirs is not None and axis not in call.differs:
            compared += 1
            if theirs != value:
                differences.append(f"axis {axis}: derived {value}, FlashInfer {theirs}")
    for name, spec in definition.inputs.items():
        theirs = dump["inputs"].get(call.aliases.get(name, name), {}).get("dtype", UNKNOWN)
        if theirs != UNKNOWN and name not in call.differs:
            compared += 1
            if theirs != spec.dtype.value:
                differences.append(f"input {name}: derived {spec.dtype.value}, FlashInfer {theirs}")
    return Comparison(compared, tuple(differences))
