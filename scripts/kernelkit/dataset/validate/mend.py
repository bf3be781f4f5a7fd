"""A definition that does not load, without what keeps it from loading, to see what else is wrong.

The format's loader stops at the first kind of fault: the wrong axes of a raw dump stay hidden
behind its unknown dtypes.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from kernelkit.dataset import constraints
from kernelkit.dataset.definition import Definition, DType
from kernelkit.errors import FormatError

_DTYPES = {dtype.value for dtype in DType}
_STUB = "def run():\n    pass\n"  # the reference is checked by its text, not here


def mended(document: dict[str, Any]) -> Definition | None:
    """The document without its S1, S2, S3, S4, S6 and S7 faults; None where others remain.

    Nothing is invented that a later check could take for the author's: bad parts are left out.
    """
    inputs, outputs = document.get("inputs"), document.get("outputs")
    axes, held = document.get("axes"), document.get("constraints") or []
    if not all(isinstance(part, dict) for part in (inputs, outputs, axes)):
        return None
    if not isinstance(held, list):
        return None
    copy = {
        **document,
        "inputs": {name: _tensor(spec, axes) for name, spec in inputs.items()},
        "outputs": {n: _tensor(spec, axes) for n, spec in outputs.items() if n not in inputs},
        "constraints": [text for text in held if _parses(text)],
        "reference": _STUB,
    }
    try:
        return Definition.model_validate(copy)
    except ValidationError:
        return None


def _tensor(spec: object, axes: dict[str, Any]) -> object:
    if not isinstance(spec, dict):
        return spec
    shape, dtype = spec.get("shape"), spec.get("dtype")
    if isinstance(shape, list):
        shape = [axis for axis in shape if not isinstance(axis, str) or axis in axes]
    known = isinstance(dtype, str) and dtype in _DTYPES
    return {**spec, "shape": shape, "dtype": dtype if known else DType.INT32.value}


def _parses(text: object) -> bool:
    try:
        constraints.names(str(text))
    except FormatError:
        return False
    return True
