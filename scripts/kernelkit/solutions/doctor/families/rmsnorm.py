"""RMSNorm with knobs: plain, with a fused residual, and Gemma's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.ops.rmsnorm import DEFAULT_EPS, read_eps
from kernelkit.solutions.doctor.mutant import Mutant, table

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

EPSILONS = (1e-5, 1e-6, 1e-8, 1e-12, 1e-3, 0.0)


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right; eps None is the reference's."""

    eps: float | None = None
    eps_place: str = "inside"  # inside, outside (sqrt(mean) + eps), after (x / sqrt + eps)
    mean: str = "mean"  # mean, sum
    centred: bool = False  # the mean subtracted, as LayerNorm does
    root: bool = True
    weight: str = "right"  # right, none, plus-one, minus-one
    residual: str = "before"  # before, lost, after, only
    norm: bool = True
    axis: int = -1


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """The output of the definition's shape."""
    turned = Knobs(**knobs)
    hidden = inputs["hidden_states"]
    residual = inputs["residual"].float() if "residual" in inputs else None
    x = hidden.float()
    if residual is not None and turned.residual == "before":
        x = x + residual
    elif turned.residual == "only":
        x = residual if residual is not None else x
    normed = x * _inverse(definition, x, turned) if turned.norm else x
    result = normed * _weight(definition, inputs["weight"].float(), turned)
    if residual is not None and turned.residual == "after":
        result = result + residual
    return {next(iter(definition.outputs)): result.to(hidden.dtype)}


def _inverse(definition: Definition, x: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """What x is multiplied by: 1 / sqrt(mean(x^2) + eps)."""
    eps = reference_eps(definition) if knobs.eps is None else knobs.eps
    values = x - x.mean(dim=-1, keepdim=True) if knobs.centred else x
    square = values.square().sum(dim=knobs.axis, keepdim=True)
    count = x.shape[knobs.axis]
    square = square / {"mean": count, "sum": 1}[knobs.mean]
    if not knobs.root:
        return 1.0 / (square + eps)
    if knobs.eps_place == "outside":
        return 1.0 / (square.sqrt() + eps)
    return (square + eps).rsqrt()


def _weight(definition: Definition, weight: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """Gemma's definitions multiply by 1 + weight."""
    right = weight + 1.0 if "gemma" in definition.name else weight
    return {
        "right": right, "none": weight * 0 + 1.0, "plus-one": weight + 1.0, "as-is": weight,
    }[knobs.weight]  # fmt: skip


def reference_eps(definition: Definition) -> float:
    """The epsilon of the definition's reference."""
    return read_eps(definition.reference) or DEFAULT_EPS


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    right = reference_eps(definition)
    eps = [
        ("eps-wrong", f"epsilon is {value:g}, the definition's is {right:g}",
         f"use {right:g}", {"eps": value})
        for value in EPSILONS if value != right
    ]  # fmt: skip
    fused = "residual" in definition.inputs
    weights = (
        ("gemma-plus-one-missing", "the norm multiplies by weight, Gemma's by 1 + weight",
         "multiply by 1 + weight", {"weight": "as-is"})
        if "gemma" in definition.name else
        ("weight-plus-one", "the norm multiplies by 1 + weight (Gemma's form), not by weight",
         "multiply by weight", {"weight": "plus-one"})
    )  # fmt: skip
    rows = [
        *(_FUSED if fused else []), weights,
        ("weight-missing", "the norm is not multiplied by weight", "multiply by weight",
         {"weight": "none"}), *eps, *_NORM,
    ]  # fmt: skip
    return table(rows)


_FUSED = [
    ("residual-lost", "the residual is not added", "normalise hidden_states + residual",
     {"residual": "lost"}),
    ("residual-added-after", "the residual is added behind the norm, not before it",
     "normalise hidden_states + residual", {"residual": "after"}),
    ("hidden-states-lost", "the residual alone is normalised",
     "normalise hidden_states + residual", {"residual": "only"}),
    ("sum-returned", "the sum hidden_states + residual is returned, not its norm: an in-place "
     "API's other output", "return the normed tensor", {"norm": False, "weight": "none"}),
]  # fmt: skip
_NORM = [
    ("eps-outside-root", "epsilon is added to the root, not below it", "rsqrt(mean(x^2) + eps)",
     {"eps_place": "outside"}),
    ("mean-missing", "the sum of squares is not divided by the hidden size",
     "rsqrt(mean(x^2) + eps)", {"mean": "sum"}),
    ("mean-subtracted", "the mean is subtracted, as LayerNorm does",
     "RMSNorm subtracts nothing: rsqrt(mean(x^2) + eps)", {"centred": True}),
    ("root-missing", "x is divided by the mean square, not by its root", "use rsqrt",
     {"root": False}),
    ("norm-missing", "x is multiplied by weight without being normalised",
     "multiply by rsqrt(mean(x^2) + eps)", {"norm": False}),
    ("normalised-over-rows", "the mean is taken over the rows, not over the hidden size",
     "reduce the last axis", {"axis": 0}),
]  # fmt: skip


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Rows of zeros, and small rows, in which epsilon decides."""
    x = inputs["hidden_states"].float()
    if "residual" in inputs:
        x = x + inputs["residual"].float()
    square = x.square().mean(dim=-1).cpu()
    return {
        "rows of zeros": square == 0,
        "rows so small that epsilon counts": square < 100 * reference_eps(definition),
    }
