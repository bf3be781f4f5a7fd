"""Many calls at once: what a comparison needs to know of each, in one set of launches, no sync.

Outputs are stacked, [calls, ...]. Each call becomes a row of sums; a call is settled by its row
where nothing speaks against it. What is not settled here is looked at again by itself (`compare`),
which words the reasons: nothing passes here that would not pass there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kernelkit.bench.judge.compare import OutputError, faults_of
from kernelkit.bench.judge.elements import (
    FLOOR,
    TINY,
    Errors,
    Survey,
    chunk_size,
    gain_of,
    width_of,
)
from kernelkit.ops.base import Tolerance

if TYPE_CHECKING:
    import torch

COLUMNS = (
    "low", "high", "got_low", "got_high", "want_nan", "want_infinite", "got_odd", "wrong",
    "stray", "max_abs", "max_rel", "row_error", "dot", "energy", "squares",
)  # fmt: skip
MOST_CHUNKS = 4  # of a single call: larger ones are looked at piece by piece
FAR = 0.25  # of the norm, or of the integers: such a call was not done
LEAST_NORM = 1e-6
WIDE = 1e15  # squares of larger values leave float32


def fits(want: torch.Tensor) -> bool:
    """Whether a call's output is small enough to be taken whole, and of whole rows: a row that is
    wider than a chunk is cut, and may have a rest."""
    elements = want.shape[1:].numel()
    most = chunk_size(want.is_cuda) * (MOST_CHUNKS if want.is_cuda else 1)
    return 0 < elements <= most and elements % width_of(want.shape[1:], want.is_cuda) == 0


def tabulate(
    got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance, *, odd: bool
) -> torch.Tensor:
    """[calls, len(COLUMNS)] float64 on the device of `want`. `odd`: NaN and infinities are set
    apart; without it they leave a row whose numbers are not finite."""
    import torch

    if not want.dtype.is_floating_point:
        return _exact(got, want)
    step = max(1, chunk_size(want.is_cuda) // want.shape[1:].numel())
    parts = [
        _sums(have, wanted, tolerance, odd)
        for have, wanted in zip(got.split(step), want.split(step), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _sums(got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance, odd: bool) -> torch.Tensor:
    """The rows of a few calls; see `elements._chunk`, whose formulas these are."""
    import torch

    kind, calls = want.dtype, len(want)
    width = width_of(want.shape[1:], want.is_cuda)
    dtype = torch.float64 if kind == torch.float64 else torch.float32
    have = got.reshape(calls, -1, width).to(dtype)
    wanted = want.reshape(calls, -1, width).to(dtype)
    if odd:
        have, wanted, error, counts, bounds = _apart(have, wanted)
    else:
        error = (have - wanted).abs_()
        counts, bounds = [wanted.new_zeros(calls)] * 4, _bounds(wanted, have)
    magnitude = wanted.abs()
    energies = magnitude.square().sum(-1)
    energy = energies.sum(1)
    # Squares: of the least norm that a row is taken to have, by the root mean square of all. A
    # call with a NaN of want or a stray has other sums here: it is not settled by them.
    finite = want.shape[1:].numel() - counts[1]
    step = torch.finfo(kind).smallest_normal * torch.finfo(kind).eps
    floor = (energy * (FLOOR**2 * width) / finite).clamp_(min=step**2 * width)
    scale = torch.maximum(energies, floor[:, None])
    limit: torch.Tensor | float = tolerance.atol
    if tolerance.of_rms is not None:
        rms = (scale * (tolerance.of_rms**2 / width)).sqrt_()
        limit = rms.clamp_(max=tolerance.atol).add_(step)[:, :, None]
    wrong = error > magnitude * tolerance.rtol + limit
    squares = error.square().sum(-1)
    rows = squares / scale.clamp_(min=torch.finfo(dtype).tiny)
    numbers = (
        *bounds, *counts[:3], wrong.sum((1, 2), dtype=dtype), counts[3],
        error.amax((1, 2)), error.div_(magnitude.add_(TINY)).amax((1, 2)), rows.amax(1),
        (have * wanted).sum((1, 2)), energy, squares.sum(1),
    )  # fmt: skip
    return torch.stack(numbers, dim=1).double()


def _apart(have: torch.Tensor, wanted: torch.Tensor) -> tuple[Any, ...]:
    """Both with zeros where one is not finite, their error; how many NaN and infinities want has,
    odd elements got, and strays there are; bounds."""
    finite, sound = wanted.isfinite(), have.isfinite()
    both = finite & sound
    strays = ~both & (have != wanted)
    masks = (wanted.isnan(), wanted.isinf(), ~sound, strays)
    counts = [mask.sum((1, 2), dtype=wanted.dtype) for mask in masks]
    bounds = _bounds(wanted.where(finite, 0.0), have.where(sound, 0.0))
    error = (have - wanted).abs_().where(both, 0.0)
    return have.where(both, 0.0), wanted.where(both, 0.0), error, counts, bounds


def _bounds(wanted: torch.Tensor, have: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The least and the largest of each call, of want and of got."""
    return (*wanted.flatten(1).aminmax(dim=1), *have.flatten(1).aminmax(dim=1))


def _exact(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Integers and booleans: how many differ, and by how much."""

    have, wanted = got.flatten(1).double(), want.flatten(1).double()
    error = (have - wanted).abs_()
    table = error.new_zeros(len(want), len(COLUMNS))
    table[:, COLUMNS.index("wrong")] = (got != want).flatten(1).sum(1).double()
    table[:, COLUMNS.index("max_abs")] = error.amax(1)
    table[:, COLUMNS.index("max_rel")] = (error / wanted.abs().clamp_(min=1.0)).amax(1)
    return table


def far(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """[calls] bool: outputs that are far from the reference's. A few passes; it sees a call that
    was not done, not a small error."""

    have, wanted = got.flatten(1), want.flatten(1)
    if not want.dtype.is_floating_point:
        return (have != wanted).float().mean(dim=1) > FAR
    have, wanted, same = have.float(), wanted.float(), have == wanted
    error = (have - wanted).masked_fill_(same, 0.0).norm(dim=1)
    norm = wanted.where(wanted.isfinite(), 0.0).norm(dim=1)
    return ~(error <= FAR * norm + LEAST_NORM)


def settle(row: list[float], want: torch.Tensor, tolerance: Tolerance) -> OutputError | None:
    """How far a call's output is off, by its row, where it passes; None where the row does not
    say so. `want` is that call's own."""
    if not all(map(math.isfinite, row)):
        return None
    value = dict(zip(COLUMNS, row, strict=True))
    count = want.numel()
    ratio = 1.0 - value["wrong"] / count
    found = OutputError(value["max_abs"], value["max_rel"], ratio)
    if not want.dtype.is_floating_point:
        return found if ratio >= tolerance.matched_ratio else None
    if value["want_nan"] or max(map(abs, row[:4])) > WIDE:
        return None
    seen = Survey(  # its root mean square is not asked for: the row's sums hold it already
        0, int(value["want_infinite"]), int(value["got_odd"]), 0.0, value["low"], value["high"],
        value["got_low"], value["got_high"],
    )  # fmt: skip
    gain, noise = gain_of(
        value["dot"], value["energy"], value["squares"], count // width_of(want.shape, want.is_cuda)
    )
    errors = Errors(
        wrong=int(value["wrong"]), stray=int(value["stray"]), max_abs=value["max_abs"],
        max_rel=value["max_rel"], row_error=math.sqrt(value["row_error"]), row=0, gain=gain,
        gain_noise=noise, first=0,
    )  # fmt: skip
    return None if faults_of(tolerance, seen, errors, want, ratio) else found
