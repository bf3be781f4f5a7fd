"""A hypothesis on one output: what got would be, made from the reference's output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.solutions.doctor.matching import Observation

if TYPE_CHECKING:
    import torch

Transform = Callable[[Observation], "torch.Tensor | None"]


@dataclass(frozen=True)
class Claim:
    """A cause, and what it makes of the reference's output `name`."""

    cause: str
    meaning: str
    change: str
    evidence: str
    name: str
    transform: Transform

    def hypotheses(self, observations: Sequence[Observation]) -> list[torch.Tensor | None]:
        """What got should be for each observation; None where the claim is not about it."""
        return [self.transform(o) if o.name == self.name else None for o in observations]
