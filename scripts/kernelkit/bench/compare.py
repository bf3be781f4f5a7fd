"""Hold a solution's outputs against the reference's: shape, dtype, then element by element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.dataset.trace import Status
from kernelkit.ops.base import Tolerance

if TYPE_CHECKING:
    import torch

TINY = 1e-8  # keeps the relative error finite where the reference is zero


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison. Errors are over finite elements; inf where a NaN or an
    infinity stands in the wrong place. `matched_ratio` is the worst output's."""

    status: Status
    max_abs: float = 0.0
    max_rel: float = 0.0
    matched_ratio: float = 1.0
    message: str = ""


def compare(
    got: dict[str, torch.Tensor], want: dict[str, torch.Tensor], tolerance: Tolerance
) -> Verdict:
    """The verdict over all outputs; shape and dtype come first."""
    if bad := _form(got, want):
        return bad
    verdicts = [compare_values(name, got[name], want[name], tolerance) for name in want]
    return worst(verdicts)


def check_form(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> Verdict:
    """Shape and dtype alone, for ops whose values are random draws."""
    return _form(got, want) or Verdict(Status.PASSED)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Several verdicts as one: the first failure's status, the largest errors, all messages."""
    failed = [verdict for verdict in verdicts if verdict.status is not Status.PASSED]
    return Verdict(
        failed[0].status if failed else Status.PASSED,
        max((v.max_abs for v in verdicts), default=0.0),
        max((v.max_rel for v in verdicts), default=0.0),
        min((v.matched_ratio for v in verdicts), default=1.0),
        "; ".join(dict.fromkeys(v.message for v in verdicts if v.message)),
    )


def compare_values(
    name: str, got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance
) -> Verdict:
    """One output of equal shape and dtype.

    An element matches where |got - want| <= atol + rtol |want|, where both are the same infinity,
    or where both are NaN (which is noted). Integers and booleans must be equal.
    """
    import torch

    if not want.numel():
        return Verdict(Status.PASSED)
    exact = not want.dtype.is_floating_point
    have, wanted = got.to(torch.float64), want.to(torch.float64)
    finite = torch.isfinite(have) & torch.isfinite(wanted)
    both_nan = torch.isnan(have) & torch.isnan(wanted)
    settled = (have == wanted) | both_nan
    error = torch.where(finite, (have - wanted).abs(), 0.0)
    allowed = torch.zeros_like(error) if exact else tolerance.atol + tolerance.rtol * wanted.abs()
    matched = settled | (finite & (error <= allowed))
    stray = int((~finite & ~settled).sum())
    ratio = float(matched.double().mean())
    relative = torch.where(finite, error / (wanted.abs() + TINY), 0.0)
    passed = not stray and ratio >= tolerance.matched_ratio
    return Verdict(
        Status.PASSED if passed else Status.INCORRECT_NUMERICAL,
        math.inf if stray else float(error.max()),
        math.inf if stray else float(relative.max()),
        ratio,
        _message(name, matched, stray, int(both_nan.sum()), passed),
    )


def _message(name: str, matched: torch.Tensor, stray: int, both_nan: int, passed: bool) -> str:
    parts = []
    if both_nan:
        parts.append(f"{name}: {both_nan} elements are NaN in the reference too")
    if stray:
        parts.append(f"{name}: {stray} NaN or infinities where the reference has none")
    if not passed:
        wrong = int((~matched).sum())
        place = tuple((~matched).nonzero()[0].tolist()) if wrong else ()
        parts.append(f"{name}: {wrong} of {matched.numel()} elements differ, first at {place}")
    return "; ".join(parts)


def _form(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> Verdict | None:
    """The first fault of names, shapes or dtypes."""
    if set(got) != set(want):
        return Verdict(
            Status.INCORRECT_SHAPE, message=f"outputs {sorted(got)}, expected {sorted(want)}"
        )
    for name, wanted in want.items():
        if got[name].shape != wanted.shape:
            text = f"{name}: shape {tuple(got[name].shape)}, expected {tuple(wanted.shape)}"
            return Verdict(Status.INCORRECT_SHAPE, message=text)
        if got[name].dtype != wanted.dtype:
            text = f"{name}: dtype {got[name].dtype}, expected {wanted.dtype}"
            return Verdict(Status.INCORRECT_DTYPE, message=text)
    return None
