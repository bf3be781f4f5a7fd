"""How well a hypothesis fits: which elements are wrong, and how many of them it explains.

An element is wrong where it is further from the reference than the family's tolerance allows; it
is explained where it is as near to the hypothesis. Equal infinities match, and NaN matches NaN.
The residual tells close hypotheses apart: the norm of (got - hypothesis) over that of (got - want).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.ops.base import Tolerance

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

TIGHTER = (1.0, 0.3, 0.1, 0.03)  # tried where a refused output has no wrong element
LEAST_WRONG = 0.01
SOUND = 0.985  # of the wrong elements: so many must be explained, so many others stay right
EACH = 0.05  # by which a single output of a single case may fall short
RESIDUAL = 0.4


@dataclass
class Observation:
    """One output of one case: what came, what is wanted, and which elements differ."""

    case: str
    name: str
    got: torch.Tensor
    want: torch.Tensor
    tolerance: Tolerance
    failed: bool  # whether the evaluator's rules refuse this output
    undecided: torch.Tensor | None = None  # rows in which right kernels may decide differently
    tighten: float = 1.0

    def __post_init__(self) -> None:
        self.wrong = differ(self.got, self.want, self.tolerance)
        if not self.failed:
            self.wrong = self.wrong & False
            return
        for factor in TIGHTER:
            found = differ(self.got, self.want, self.tolerance, factor)
            if (factor == 1.0 and bool(found.any())) or float(found.float().mean()) > LEAST_WRONG:
                self.wrong, self.tighten = found, factor
                return

    def matches(self, hypothesis: torch.Tensor) -> torch.Tensor:
        """The elements of got that are near the hypothesis."""
        return ~differ(self.got, hypothesis, self.tolerance, self.tighten)


@dataclass(frozen=True)
class Fit:
    """How a hypothesis does over all observations."""

    wrong: int
    explained: int
    right: int
    broken: int  # elements that are right and that the hypothesis has wrong
    residual: float  # mean over the refused outputs; 0 is exact, 1 no better than the reference
    least: float = 1.0  # the share of the case and output where it explains the least

    @property
    def share(self) -> float:
        """Of the wrong elements, less what the hypothesis breaks."""
        explained = self.explained / self.wrong if self.wrong else 0.0
        return max(0.0, explained - (self.broken / self.right if self.right else 0.0))

    def explains(self, needed: float = SOUND) -> bool:
        """Whether the hypothesis accounts for what is seen."""
        enough = self.share >= needed and self.least >= needed - EACH
        return enough and self.residual <= RESIDUAL


def differ(
    got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance, tighten: float = 1.0
) -> torch.Tensor:
    """Where got is further from want than allowed: atol, at most a share of the row's scale, and
    rtol, both times `tighten` but never below what the dtype itself rounds."""
    import torch

    if not want.dtype.is_floating_point:
        return got != want
    kind = torch.finfo(want.dtype)
    got, want = got.double(), want.double()
    finite = got.isfinite() & want.isfinite()
    magnitude = want.abs().where(want.isfinite(), 0.0)
    allowed = torch.full_like(magnitude, tolerance.atol)
    if tolerance.of_rms is not None and want.dim():
        scale = magnitude.square().mean(dim=-1, keepdim=True).sqrt()
        scale = scale.clamp(min=float(magnitude.square().mean().sqrt()) / 16)
        allowed = (tolerance.of_rms * scale).clamp(max=tolerance.atol).expand_as(magnitude)
    limit = tighten * (allowed + tolerance.rtol * magnitude)
    limit = limit.clamp(min=0.0).maximum(2 * kind.eps * magnitude + kind.tiny)
    same = (got == want) | (got.isnan() & want.isnan())
    return ~same & (~finite | ((got - want).abs() > limit))


def fit(observations: Sequence[Observation], hypotheses: Sequence[torch.Tensor | None]) -> Fit:
    """The fit of one hypothesis for each observation; None: as the reference."""
    wrong = explained = right = broken = 0
    residuals: list[float] = []
    least = 1.0
    for seen, hypothesis in zip(observations, hypotheses, strict=True):
        if hypothesis is None:
            wrong += int(seen.wrong.sum())
            right += int((~seen.wrong).sum())
            residuals += [1.0] if seen.failed else []
            least = 0.0 if seen.failed else least
            continue
        if hypothesis.shape != seen.want.shape:
            return Fit(1, 0, 0, 0, math.inf, 0.0)
        hypothesis = hypothesis.to(seen.want.dtype)
        if seen.undecided is not None:
            hypothesis = hypothesis.clone()
            hypothesis[seen.undecided] = seen.got[seen.undecided]
        match = seen.matches(hypothesis)
        wrong += int(seen.wrong.sum())
        explained += int((seen.wrong & match).sum())
        right += int((~seen.wrong).sum())
        broken += int((~seen.wrong & ~match).sum())
        if seen.failed:
            residuals.append(residual(seen, hypothesis))
            least = min(least, float((seen.wrong & match).sum()) / max(1, int(seen.wrong.sum())))
    mean = sum(residuals) / len(residuals) if residuals else 0.0
    return Fit(wrong, explained, right, broken, mean, least)


def residual(seen: Observation, hypothesis: torch.Tensor) -> float:
    """|got - hypothesis| / |got - want| over elements where all are finite; at most 2. Where
    none of them differs, what counts is whether the others are equal."""
    got, want, claim = seen.got.double(), seen.want.double(), hypothesis.double()
    finite = got.isfinite() & want.isfinite() & claim.isfinite()
    before = float((got - want).where(finite, 0.0).norm())
    after = float((got - claim).where(finite, 0.0).norm())
    if before == 0.0 or not bool((seen.wrong & finite).any()):
        wrong = seen.wrong & ~finite
        missed = wrong & ~seen.matches(hypothesis)
        return float(missed.sum()) / max(1, int(wrong.sum()))
    return min(2.0, after / before)
