"""Hold a solution's outputs against the reference's: names, shape, dtype, then the values.

Values are judged in three ways, because none of them sees every error. Element by element, with an
absolute tolerance that shrinks with the row's scale. Row by row, by the norm of the error: a sum
over a hundred elements sees one of their percents. And by the gain over the whole output: a factor
of 1.02 that each element's tolerance allows. All zeros, a constant and non-finite values are
refused unless the reference has them too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernelkit.bench.judge.elements import (
    ROW,
    Errors,
    Survey,
    chunk_size,
    measure,
    survey,
)
from kernelkit.dataset.trace import Status
from kernelkit.errors import KernelkitError
from kernelkit.ops.base import Tolerance

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
GAIN_ELEMENTS = 64  # fewer say nothing of a gain
GAIN_SIGMAS = 3.0  # standard errors of a gain that are not held against it


class BadReferenceError(KernelkitError):
    """The reference's own output cannot be compared with: an error of the definition."""


@dataclass(frozen=True)
class OutputError:
    """How far one output is from the reference's."""

    max_abs: float = 0.0
    max_rel: float = 0.0
    matched_ratio: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison. Errors are over finite elements; inf where a NaN or an
    infinity stands in the wrong place. `matched_ratio` is the worst output's."""

    status: Status
    max_abs: float = 0.0
    max_rel: float = 0.0
    matched_ratio: float = 1.0
    message: str = ""
    outputs: dict[str, OutputError] = field(default_factory=dict)


def compare(got: Tensors, want: Tensors, tolerance: Tolerance) -> Verdict:
    """The verdict over all outputs; names, shape and dtype come first.

    Raises BadReferenceError where the reference holds a NaN.
    """
    if bad := _form(got, want):
        return bad
    verdicts = [
        compare_values(name, got[name], want[name], tolerance.each.get(name, tolerance))
        for name in want
    ]
    return worst(verdicts)


def check_form(got: Tensors, want: Tensors) -> Verdict:
    """Names, shape and dtype alone, for ops whose values are judged by another rule."""
    return _form(got, want) or Verdict(Status.PASSED)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Several verdicts as one: the first failure's status, the largest errors, all messages."""
    failed = [verdict for verdict in verdicts if verdict.status is not Status.PASSED]
    outputs: dict[str, OutputError] = {}
    for name, error in ((n, e) for verdict in verdicts for n, e in verdict.outputs.items()):
        known = outputs.get(name, OutputError())
        outputs[name] = OutputError(
            max(known.max_abs, error.max_abs),
            max(known.max_rel, error.max_rel),
            min(known.matched_ratio, error.matched_ratio),
        )
    return Verdict(
        failed[0].status if failed else Status.PASSED,
        max((v.max_abs for v in verdicts), default=0.0),
        max((v.max_rel for v in verdicts), default=0.0),
        min((v.matched_ratio for v in verdicts), default=1.0),
        "; ".join(dict.fromkeys(v.message for v in verdicts if v.message)),
        outputs,
    )


def compare_values(
    name: str, got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance
) -> Verdict:
    """One output of equal shape and dtype, by `tolerance` alone (its `each` is not looked at).

    Integers and booleans must be equal; equal infinities are. Raises BadReferenceError where the
    reference holds a NaN.
    """
    import torch

    if not want.numel():
        return Verdict(Status.PASSED, outputs={name: OutputError()})
    got, want = got.detach().to(want.device).contiguous(), want.detach().contiguous()
    if not want.dtype.is_floating_point:
        return _exact(name, got, want, tolerance.matched_ratio)
    seen = survey(got, want, torch.float32)
    if not math.isfinite(seen.rms):
        seen = survey(got, want, torch.float64)
    if seen.want_nan:
        raise BadReferenceError(
            f"{name}: {seen.want_nan} elements are NaN in the reference",
            next_step="correct the definition's reference, or the workload's inputs",
        )
    errors = measure(got, want, tolerance, seen)
    ratio = 1.0 - errors.wrong / want.numel()
    reasons = faults_of(tolerance, seen, errors, want, ratio)
    limit = math.inf if errors.stray else 0.0
    error = OutputError(max(errors.max_abs, limit), max(errors.max_rel, limit), ratio)
    status = Status.INCORRECT_NUMERICAL if reasons else Status.PASSED
    text = "; ".join(f"{name}: {reason}" for reason in reasons)
    return Verdict(status, error.max_abs, error.max_rel, ratio, text, {name: error})


def faults_of(
    tolerance: Tolerance, seen: Survey, errors: Errors, want: torch.Tensor, ratio: float
) -> list[str]:
    """Why the output is refused; empty where it is not."""
    import torch

    if errors.stray:
        return [f"{errors.stray} NaN or infinities where the reference has none, or the reverse"]
    reasons = []
    spread, largest = seen.high - seen.low, max(abs(seen.low), abs(seen.high))
    if seen.finite and seen.got_low == seen.got_high and want.numel() > 1:
        # A spread of a few roundings may honestly come out as one value.
        if spread > 4 * torch.finfo(want.dtype).eps * largest:
            reasons.append(f"constant {seen.got_low:g} where the reference is not")
        elif seen.got_low == 0.0 != largest:
            reasons.append("all zeros where the reference is not")
    if ratio < tolerance.matched_ratio:
        place = _place(errors.first, want.shape)
        reasons.append(f"{errors.wrong} of {want.numel()} elements differ, first at {place}")
    row, gain = tolerance.row_error, tolerance.gain_error
    if row is not None and want.numel() >= ROW and errors.row_error > row:
        share = f"{errors.row_error:.2%} of its norm, at most {row:.2%}"
        reasons.append(f"the error of row {errors.row} is {share}")
    # A few rows of low-bit results have a gain by chance.
    off = abs(errors.gain - 1.0) - GAIN_SIGMAS * errors.gain_noise
    if gain is not None and want.numel() >= GAIN_ELEMENTS and off > gain:
        reasons.append(f"{errors.gain:.4f} times the reference, as a whole")
    return reasons


def _place(flat: int, shape: torch.Size) -> tuple[int, ...]:
    place = []
    for size in reversed(shape):
        place.append(flat % size)
        flat //= size
    return tuple(reversed(place))


def _exact(name: str, got: torch.Tensor, want: torch.Tensor, least: float) -> Verdict:
    """Integers and booleans."""
    import torch

    size = chunk_size(want.is_cuda)
    pairs = zip(got.view(-1).split(size), want.view(-1).split(size), strict=True)
    rows = []
    for have, wanted in pairs:
        error = (have.double() - wanted.double()).abs()
        relative = error / wanted.double().abs().clamp(min=1.0)
        wrong = (have != wanted).sum().double()
        rows.append(torch.stack([wrong, error.amax(), relative.amax()]))
    table = torch.stack(rows)
    wrong, max_abs, max_rel = [*table[:, :1].sum(dim=0).tolist(), *table[:, 1:].amax(0).tolist()]
    ratio = 1.0 - wrong / want.numel()
    error = OutputError(max_abs, max_rel, ratio)
    if ratio >= least:
        return Verdict(Status.PASSED, max_abs, max_rel, ratio, "", {name: error})
    place = tuple((got != want).nonzero()[0].tolist())
    text = f"{name}: {int(wrong)} of {want.numel()} elements differ, first at {place}"
    return Verdict(Status.INCORRECT_NUMERICAL, max_abs, max_rel, ratio, text, {name: error})


def _form(got: Tensors, want: Tensors) -> Verdict | None:
    """The first fault of names, types, shapes or dtypes."""
    import torch

    if set(got) != set(want):
        text = f"outputs {sorted(map(str, got))}, expected {sorted(want)}"
        return Verdict(Status.INCORRECT_SHAPE, message=text)
    for name, wanted in want.items():
        value = got[name]
        # A subclass may overload what the comparison does.
        if type(value) is not torch.Tensor or value.layout is not torch.strided:
            text = f"{name}: {type(value).__name__}, expected a plain tensor"
            return Verdict(Status.INCORRECT_DTYPE, message=text)
        if value.shape != wanted.shape:
            text = f"{name}: shape {tuple(value.shape)}, expected {tuple(wanted.shape)}"
            return Verdict(Status.INCORRECT_SHAPE, message=text)
        if value.dtype != wanted.dtype:
            text = f"{name}: dtype {value.dtype}, expected {wanted.dtype}"
            return Verdict(Status.INCORRECT_DTYPE, message=text)
    return None
