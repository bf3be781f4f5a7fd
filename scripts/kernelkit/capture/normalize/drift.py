"""Where a dump and the model's config disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernelkit.capture.normalize.outcome import Normalized
from kernelkit.dataset.definition import Definition
from kernelkit.models.parallelism import Parallelism
from kernelkit.models.spec import ModelSpec
from kernelkit.ops import OP_TYPES, placement
from kernelkit.ops.derivation import Request, derive

PAGE_SIZES = (1, 16, 32, 64, 128)


def against_config(
    results: Iterable[Normalized], spec: ModelSpec, parallel: Sequence[Parallelism]
) -> None:
    """Write down, for each family definition, where derivation gives another or none."""
    results = [r for r in results if r.definition is not None and r.family]
    sizes = {r.definition.const_axes.get("page_size", 1) for r in results if r.definition}
    request = Request(parallel=tuple(parallel), page_sizes=tuple(sorted({*PAGE_SIZES, *sizes})))
    derived = {}
    for variant in derive(spec, request).variants:
        for name in (variant.definition.name, variant.fallback_name):
            if name:
                derived[name] = variant.definition
    for result in results:
        if result.definition is not None:
            result.drift += _differences(result.definition, derived)


def _differences(definition: Definition, derived: dict[str, Definition]) -> list[str]:
    ours = derived.get(definition.name)
    if ours is None:
        near = nearest(definition, derived.values())
        hint = f"; nearest: {near.name}" if near else ""
        return [f"the model's config gives no {definition.name}{hint}"]
    return [
        text.replace("existing", "dump").replace("derived", "config")
        for text in placement.compare(definition, ours)
        if not text.startswith("name:")
    ]


def nearest(definition: Definition, others: Iterable[Definition]) -> Definition | None:
    """Of the same op type and inputs, the one that shares most constant axes."""
    alike = [
        other for other in others
        if other.op_type == definition.op_type and set(other.inputs) == set(definition.inputs)
    ]  # fmt: skip
    if definition.op_type not in OP_TYPES or not alike:
        return None
    sizes = definition.const_axes.items()
    return max(alike, key=lambda other: len(sizes & other.const_axes.items()))
