"""Mistaken variants of an op: a cause, what it means, what to change, and how to compute it.

Each family has a module in families/ with a formula of its own, in which every mistake is a knob:

    run(definition, inputs, **knobs) -> outputs by name; without knobs the reference's
    mutants(definition) -> the mistakes that its shapes allow, the likeliest first
    groups(definition, inputs) -> named masks over the rows of the outputs, to say where errors are

The formula stands beside the reference, not on its text: datasets hold references of many hands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

from kernelkit.dataset.definition import Definition

MODULES = {
    "gqa_paged": "attention", "gqa_ragged": "attention", "mla_paged": "attention",
    "mla_ragged": "attention", "dsa_paged": "attention", "gdn": "gdn", "mamba_ssu": "mamba",
    "moe": "moe", "rope": "rope", "rmsnorm": "rmsnorm", "gemm": "gemm", "sampling": "sampling",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One mistake, or two at once."""

    cause: str
    meaning: str
    change: str
    knobs: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def with_other(self, other: Mutant) -> Mutant | None:
        """Both mistakes at once; None where they turn the same knob."""
        if set(self.knobs) & set(other.knobs):
            return None
        return Mutant(
            f"{self.cause} and {other.cause}", f"{self.meaning}; {other.meaning}",
            f"{self.change}; {other.change}", {**self.knobs, **other.knobs},
        )  # fmt: skip


def table(rows: list[tuple[str, str, str, Mapping[str, Any]]]) -> list[Mutant]:
    """Mutants from rows of (cause, meaning, change, knobs)."""
    return [Mutant(*row) for row in rows]


def model_of(definition: Definition) -> ModuleType | None:
    """The module of the definition's family; None for an op type that no family knows."""
    name = MODULES.get(definition.op_type)
    if "topk_indices" in definition.outputs:
        name = "indexer"
    return None if name is None else import_module(f"kernelkit.solutions.doctor.families.{name}")
