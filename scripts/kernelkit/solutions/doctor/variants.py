"""The family's formula with mistakes in it, computed for the cases that are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor.cases import Case
from kernelkit.solutions.doctor.matching import Observation, differ
from kernelkit.solutions.doctor.mutant import Mutant, model_of
from kernelkit.solutions.doctor.observe import comparable

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]
    Hypotheses = list[torch.Tensor | None]

RIGHT = Mutant("", "", "")
MOST_OFF = 0.02  # of the elements, by which formula and reference may differ


class Variants:
    """The mutants of a definition, if its reference is what the family's formula computes."""

    def __init__(self, definition: Definition, cases: Sequence[Case]) -> None:
        self.definition = definition
        self.cases = {case.name: case for case in cases}
        self.model = model_of(definition)
        self.kept: dict[tuple[str, str], Tensors | None] = {}

    def mutants(self, observations: Sequence[Observation]) -> tuple[list[Mutant], str]:
        """The mutants, or none and the reason; checked on these observations."""
        if self.model is None:
            return [], f"no family knows op type {self.definition.op_type}"
        try:
            found = self.model.mutants(self.definition)
        except Exception as error:  # a definition of another form than the family's
            return [], f"{type(error).__name__}: {error}"
        right = self.hypotheses(RIGHT, observations)
        for seen, hypothesis in zip(observations, right, strict=True):
            if hypothesis is None or hypothesis.shape != seen.want.shape:
                return [], "the definition has another interface than the family"
            off = differ(hypothesis.to(seen.want.dtype), seen.want, seen.tolerance)
            if float(off.float().mean()) > MOST_OFF:
                return [], "the definition's reference is not the family's formula"
        return found, ""

    def groups(self) -> dict[str, dict[str, torch.Tensor]]:
        """Masks over rows by case and name; none where the family cannot tell."""
        found: dict[str, dict[str, torch.Tensor]] = {}
        for name, case in self.cases.items():
            try:
                found[name] = self.model.groups(self.definition, case.inputs) if self.model else {}
            except Exception:  # a definition of another form: no kinds of rows are known
                return {}
        return found

    def hypotheses(self, mutant: Mutant, observations: Sequence[Observation]) -> Hypotheses:
        """What the mutant gives for each observation; None where it cannot be computed."""
        found = []
        for seen in observations:
            values = self._values(mutant, seen.case)
            value = None if values is None else values.get(seen.name)
            found.append(None if value is None else value.to(seen.want.dtype))
        return found

    def _values(self, mutant: Mutant, name: str) -> Tensors | None:
        """All outputs of a case, remembered."""
        key = (repr(sorted(mutant.knobs.items())), name)
        if key not in self.kept:
            case = self.cases[name]
            try:
                values = self.model.run(self.definition, case.inputs, **mutant.knobs)  # type: ignore[union-attr]
                self.kept[key] = {n: comparable(n, t, case) for n, t in values.items()}
            except Exception:  # a mistake that these shapes do not allow
                self.kept[key] = None
        return self.kept[key]
