"""The search for the hypothesis that explains what differs.

Hypotheses are claims on outputs (outputs.py) and mistaken variants of the op (variants.py). One
that explains all wrong elements of all cases wins; then one for each output; then what the places
of the errors tell; then two mistakes at once. Everything else is reported as facts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor import outputs, places
from kernelkit.solutions.doctor.cases import ONE, Case
from kernelkit.solutions.doctor.matching import SOUND, Fit, Observation, differ, fit
from kernelkit.solutions.doctor.mutant import Mutant
from kernelkit.solutions.doctor.report import Finding
from kernelkit.solutions.doctor.variants import Variants

PARTLY = 0.2  # a hypothesis that explains less is not mentioned
MOST_PARTLY = 3
# Claims on outputs that a variant of the op with the same fit says better.
GENERIC = ("constant-", "rounded-", "output", "head", "row", "column", "one-")
NEAR, NEARER = 0.01, 1.5  # residuals that count as equal: NEARER times the least, and NEAR


@dataclass(frozen=True)
class Candidate:
    """A hypothesis that explains, and how well."""

    cause: str
    meaning: str
    change: str
    evidence: str  # "" for a variant of the op
    fit: Fit

    @property
    def generic(self) -> bool:
        """Whether it says what an output looks like, and not which mistake was made."""
        return bool(self.evidence) and self.cause.startswith(GENERIC)


class Search:
    """The search over the observations of one solution."""

    def __init__(
        self, definition: Definition, cases: Sequence[Case], observations: list[Observation],
        deadline: float,
    ) -> None:  # fmt: skip
        self.definition, self.observations, self.deadline = definition, observations, deadline
        self.inputs = {case.name: case.inputs for case in cases}
        self.variants = Variants(definition, cases)
        self.groups = self.variants.groups()
        self.needed = min(SOUND, *(o.tolerance.matched_ratio for o in observations))
        self.notes: list[str] = []
        self.explained = False
        self.partly: dict[str, Fit] = {}
        self.mutants, reason = self.variants.mutants(self._screened(observations))
        if reason:
            self.notes.append(f"mistaken variants of the op were not tried: {reason}")

    def run(self) -> list[Finding]:
        """The causes; `explained` says whether they account for everything."""
        steps = (self._single, self._by_output, self._by_place, self._one_more, self._pairs)
        for step in steps:
            if found := step():
                self.explained = True
                return found
        return self._most_cases() or [f for f in self._places() if not f.certain]

    def facts(self) -> list[str]:
        """Where the errors are and, without a cause, what explains them in part."""
        found = places.facts(self.definition, self.observations, self.groups)
        if self.explained:
            return found
        best = sorted(self.partly.items(), key=lambda item: -item[1].share)[:MOST_PARTLY]
        return found + [
            f"{cause} would explain {fitted.share:.0%} of the wrong elements, with a residual of "
            f"{fitted.residual:.0%}" for cause, fitted in best
        ]  # fmt: skip

    def next_test(self) -> str:
        """What to try where no cause was found."""
        failed = {o.case for o in self.observations if o.failed}
        passed = {o.case for o in self.observations} - failed
        if passed:
            return (
                f"it passes in {', '.join(sorted(passed))} and fails in "
                f"{', '.join(sorted(failed))}: print the first intermediate that differs from the "
                "reference's in the smallest case that fails"
            )
        axes = [f"{axis}={ONE[axis]}" for axis in self.definition.var_axes if axis in ONE]
        smaller = f" (--axes {','.join(axes)})" if axes else ""
        return (
            f"make the inputs smaller{smaller} and replace the kernel's stages by the "
            "reference's one by one, from the last to the first"
        )

    def _single(self) -> list[Finding]:
        best = self._best(self.observations)
        return [best] if best else []

    def _by_output(self) -> list[Finding]:
        """One cause for each refused output, where each has one."""
        names = list(dict.fromkeys(o.name for o in self.observations if o.failed))
        if len(names) < 2:
            return []
        found = []
        for name in names:
            best = self._best([o for o in self.observations if o.name == name])
            if best is None:
                return []
            best.evidence[0] = f"{name}: {best.evidence[0]}"
            found.append(best)
        return found

    def _by_place(self) -> list[Finding]:
        return [finding for finding in self._places() if finding.certain]

    def _places(self) -> list[Finding]:
        return places.likely(self.definition, self.observations, self.groups)

    def _one_more(self) -> list[Finding]:
        """A mistake that explains most of the cases alone, and all with a second one."""
        first = self._widest()
        if first is None:
            return []
        for second in self.mutants:
            both = first.with_other(second)
            if both is None or self._late():
                continue
            whole = self._fit(both, self.observations)
            if whole.explains(self.needed):
                return [self._finding(_candidate(m, whole), []) for m in (first, second)]
        return []

    def _most_cases(self) -> list[Finding]:
        """What explains everything in most of the cases, and not in the others."""
        mutant = self._widest()
        cases = [] if mutant is None else self._explained_cases(mutant)
        failed = list(dict.fromkeys(o.case for o in self.observations if o.failed))
        if mutant is None or 2 * len(cases) <= len(failed):
            return []
        finding = self._finding(_candidate(mutant, self._fit(mutant, self.observations)), [])
        rest = ", ".join(case for case in failed if case not in cases)
        finding.evidence.append(f"it explains {', '.join(cases)}; something more is in {rest}")
        finding.certain = False
        return [finding]

    def _widest(self) -> Mutant | None:
        """The mutant that explains most of the cases that fail, the screened one among them."""
        screened = self._screened(self.observations)
        best, most = None, 0
        for mutant in self.mutants:
            if self._late():
                break
            if self._fit(mutant, screened).explains(self.needed):
                count = len(self._explained_cases(mutant))
                best, most = (mutant, count) if count > most else (best, most)
        return best

    def _explained_cases(self, mutant: Mutant) -> list[str]:
        """The cases that fail in which the mutant explains everything."""
        found = []
        for case in dict.fromkeys(o.case for o in self.observations if o.failed):
            seen = [o for o in self.observations if o.case == case]
            if self._fit(mutant, seen).explains(self.needed):
                found.append(case)
        return found

    def _pairs(self) -> list[Finding]:
        """Two mistakes at once."""
        screened = self._screened(self.observations)
        useful = [m for m in self.mutants if self._changes(m, screened)]
        for first, second in combinations(useful, 2):
            both = first.with_other(second)
            if both is None:
                continue
            if self._late():
                return []
            if self._fit(both, screened).explains(self.needed):
                whole = self._fit(both, self.observations)
                if whole.explains(self.needed):
                    return [self._finding(_candidate(m, whole), []) for m in (first, second)]
        return []

    def _best(self, observations: Sequence[Observation]) -> Finding | None:
        """The candidate that explains these observations best."""
        found = list(self._claims(observations))
        found += self._mutants(observations)
        if not found:
            return None
        least = min(c.fit.residual for c in found)
        equal = [c for c in found if c.fit.residual <= NEARER * least + NEAR]
        equal.sort(key=lambda c: (c.generic, bool(c.evidence) is False))
        return self._finding(equal[0], equal[1:])

    def _claims(self, observations: Sequence[Observation]) -> Iterator[Candidate]:
        screened = self._screened(observations)
        for claim in outputs.claims(self.definition, observations, self.inputs):
            fitted = fit(screened, claim.hypotheses(screened))
            self._remember(claim.cause, fitted)
            if fitted.explains(self.needed):
                whole = fit(observations, claim.hypotheses(observations))
                if whole.explains(self.needed):
                    yield Candidate(claim.cause, claim.meaning, claim.change, claim.evidence, whole)

    def _mutants(self, observations: Sequence[Observation]) -> Iterator[Candidate]:
        screened = self._screened(observations)
        for mutant in self.mutants:
            if self._late():
                return
            fitted = self._fit(mutant, screened)
            self._remember(mutant.cause, fitted)
            if fitted.explains(self.needed):
                whole = self._fit(mutant, observations)
                if whole.explains(self.needed):
                    yield _candidate(mutant, whole)

    def _fit(self, mutant: Mutant, observations: Sequence[Observation]) -> Fit:
        return fit(observations, self.variants.hypotheses(mutant, observations))

    def _screened(self, observations: Sequence[Observation]) -> list[Observation]:
        """The observations of one case that fails: `small`, else that of the fewest elements."""
        failed = [o for o in observations if o.failed]
        chosen = min(failed, key=lambda o: (o.case != "small", o.want.numel())).case
        return [o for o in observations if o.case == chosen]

    def _changes(self, mutant: Mutant, observations: Sequence[Observation]) -> bool:
        """Whether the mutant differs from the reference at all."""
        hypotheses = self.variants.hypotheses(mutant, observations)
        return any(
            h is not None and h.shape == o.want.shape and bool(differ(h, o.want, o.tolerance).any())
            for h, o in zip(hypotheses, observations, strict=True)
        )

    def _remember(self, cause: str, fitted: Fit) -> None:
        if fitted.share >= PARTLY and fitted.residual < 1.0:
            known = self.partly.get(cause)
            if known is None or known.share < fitted.share:
                self.partly[cause] = fitted

    def _late(self) -> bool:
        if time.monotonic() < self.deadline:
            return False
        text = "the search was ended at its limit of time: --seconds sets it"
        if text not in self.notes:
            self.notes.append(text)
        return True

    def _finding(self, best: Candidate, others: Sequence[Candidate]) -> Finding:
        cases = ", ".join(dict.fromkeys(o.case for o in self.observations if o.failed))
        what = best.evidence or "computed with this mistake"
        evidence = [
            f"{what}: {best.fit.explained:,} of {best.fit.wrong:,} wrong elements match "
            f"({best.fit.share:.1%}; residual {best.fit.residual:.1%} of the error) in {cases}"
        ]
        evidence += list(dict.fromkeys(c.evidence for c in others if c.evidence))[:2]
        also = [c.cause for c in others if not c.generic and c.cause != best.cause]
        return Finding(
            best.cause, best.meaning, evidence, best.change, best.fit.share,
            also=list(dict.fromkeys(also)),
        )  # fmt: skip


def _candidate(mutant: Mutant, fitted: Fit) -> Candidate:
    return Candidate(mutant.cause, mutant.meaning, mutant.change, "", fitted)
