"""What texts for other projects say of a group of kernels: shapes, interface, evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.inventory.manifest import Evidence, Kernel


def shapes(kernels: Sequence[Kernel], definitions: dict[str, Definition]) -> list[dict[str, Any]]:
    """One row for each kernel: its name, constant axes, and what gives it."""
    return [
        {"name": k.definition_name, "axes": definitions[k.definition_name].const_axes,
         "serving": " ".join(k.serving or [])}
        for k in kernels
    ]  # fmt: skip


def interface(definition: Definition) -> list[dict[str, str]]:
    """Inputs and outputs as rows of a table."""
    rows = []
    for side, tensors in (("input", definition.inputs), ("output", definition.outputs)):
        for name, spec in tensors.items():
            shape = "scalar" if spec.shape is None else f"[{', '.join(map(str, spec.shape))}]"
            rows.append({"side": side, "name": name, "shape": shape, "dtype": spec.dtype.value})
    return rows


def axis_rows(definition: Definition) -> list[dict[str, str]]:
    """Each axis with its kind."""
    const = definition.const_axes
    return [{"name": name, "kind": "const" if name in const else "var"} for name in definition.axes]


def evidence(kernels: Iterable[Kernel], *about: str) -> list[Evidence]:
    """What was seen of any of the kernels, each thing once."""
    found: dict[tuple[object, ...], Evidence] = {}
    for kernel in kernels:
        for item in kernel.evidence or []:
            if item.about in about:
                found.setdefault((item.about, item.text, item.file, item.line), item)
    return list(found.values())
