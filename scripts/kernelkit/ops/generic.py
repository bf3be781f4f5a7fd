"""Op types that no family knows: what a definition's shapes and dtypes alone tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import probing
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant, all_bytes

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

# A few units in the last place after a sum of many terms; float32 products may be TF32, which is
# what Triton makes of them.
TOLERANCES = {
    "float64": 1e-9, "float32": 1e-3, "float16": 5e-3, "bfloat16": 1e-2, "float8_e4m3fn": 0.13,
    "float8_e5m2": 0.25, "float4_e2m1": 0.5,
}  # fmt: skip
WIDE = ("float32", "float16", "bfloat16")  # types of inputs in which a kernel may compute
SMALL_AXIS = 3


class Generic(OpFamily):
    """Normal inputs, every byte moved once, tolerance by dtype; nothing is derived."""

    op_type = "generic"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """Nothing."""
        return iter(())

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """Every input read and every output written once; the work is not known."""
        return Cost(bytes_moved=all_bytes(definition, axes), flops=0.0)

    def tolerance(self, definition: Definition) -> Tolerance:
        """By the coarsest dtype of the outputs and of what the inputs are computed in."""
        kinds = [spec.dtype.value for spec in definition.outputs.values()]
        given = (spec.dtype.value for spec in definition.inputs.values() if spec.shape is not None)
        kinds += [kind for kind in given if kind in WIDE]
        widest = max(TOLERANCES.get(kind, 0.0) for kind in kinds)
        return Tolerance(
            atol=widest,
            rtol=widest,
            of_rms=min(3.0 * widest, 0.1),
            row_error=min(1.5 * widest, 0.1),
            gain_error=min(widest, 0.02),
        )

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Three of everything."""
        return dict.fromkeys(definition.var_axes, SMALL_AXIS)

    def vary_values(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Integers of a byte are values, whose rows move. Wider ones may be tables that must agree
        with each other, and stay as they are; but where there is nothing else, those move that are
        in no order: a result could be kept from call to call otherwise."""
        moved = probing.vary(inputs, rng, mix=True)
        whole = {n: v for n, v in inputs.items() if hasattr(v, "dim") and not v.is_floating_point()}
        values = {n for n, v in whole.items() if v.element_size() == 1 and v.dim()}
        masks = {n for n in values if str(whole[n].dtype) == "torch.bool"}
        if values == masks and not any(map(probing.is_values, inputs.values())):
            values |= {n for n, v in whole.items() if v.dim() and not _ascends(v)}
        for name in sorted(values):
            single = whole[name].numel() == whole[name].shape[-1]
            moved[name] = probing.rolled(whole[name], rng, columns=single)
        return moved


def _ascends(value: torch.Tensor) -> bool:
    flat = value.flatten()
    return bool((flat[1:] >= flat[:-1]).all())


FAMILY = Generic()
