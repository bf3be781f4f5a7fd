"""Sums over two tensors, chunk by chunk: what a comparison needs to know, with few device syncs.

A tensor is taken as rows: its last axis, or as many trailing axes as it takes to have ROW elements.
Chunks are float32 (float64 where the values ask for it), never a copy of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.ops.base import Tolerance

if TYPE_CHECKING:
    import torch

    Pair = tuple[torch.Tensor, torch.Tensor]
    Sums = tuple[torch.Tensor, ...]

ROW = 16  # fewer elements say little of a row's scale
FLOOR = 1 / 16  # of the output's root mean square: no row is taken to be smaller
TINY = 1e-8  # keeps the relative error finite where the reference is zero
CPU_CHUNK, DEVICE_CHUNK = 1 << 17, 1 << 24  # elements: a core's cache; half a GiB of temporaries


@dataclass(frozen=True)
class Survey:
    """One look at both tensors. rms, low and high are over the finite elements of want."""

    want_nan: int
    want_infinite: int
    got_odd: int  # NaN or infinite elements of got
    rms: float
    low: float
    high: float
    got_low: float
    got_high: float

    @property
    def finite(self) -> bool:
        """Whether all elements of both are finite."""
        return not (self.want_nan or self.want_infinite or self.got_odd)


@dataclass(frozen=True)
class Errors:
    """How far got is from want; errors are over elements where both are finite."""

    wrong: int
    stray: int  # a NaN or an infinity on one side only, or another infinity
    max_abs: float
    max_rel: float
    row_error: float  # of the worst row, and which it is
    row: int
    gain: float  # the factor that fits best got = gain * want
    gain_noise: float  # its standard error: what got is off besides, over the rows' square root
    first: int  # flat index of the first wrong element; -1 where there is none


def chunk_size(is_cuda: bool) -> int:
    """Elements that are looked at together. Sums are the same for each size."""
    return DEVICE_CHUNK if is_cuda else CPU_CHUNK


def width_of(shape: Sequence[int], is_cuda: bool) -> int:
    """Elements of a row, of a tensor that is not empty. A chunk holds at least one row."""
    width = 1
    for size in reversed(shape):
        if width >= ROW:
            break
        width *= size
    return min(width, chunk_size(is_cuda))


def chunks(got: torch.Tensor, want: torch.Tensor, width: int) -> Iterator[tuple[int, Pair]]:
    """(flat index of the first element, pieces [rows, width]). Where a row is cut because it is
    wider than a chunk, its rest is a row of its own."""
    step = chunk_size(want.is_cuda) // width * width
    flat_got, flat_want = got.reshape(-1), want.reshape(-1)
    for start in range(0, want.numel(), step):
        mine, theirs = flat_got[start : start + step], flat_want[start : start + step]
        shape = (-1, min(width, len(theirs)))
        yield start, (mine.view(shape), theirs.view(shape))


def survey(got: torch.Tensor, want: torch.Tensor, dtype: torch.dtype) -> Survey:
    """One sync where all is finite, two where not. `dtype` is that of the sums; in float32 the rms
    may come out infinite."""
    bounds = _table(got, want, lambda have, wanted: (*wanted.aminmax(), *have.aminmax()), dtype)
    lows, highs = bounds[:, [0, 2]].amin(dim=0), bounds[:, [1, 3]].amax(dim=0)
    low, got_low, high, got_high = [*lows.tolist(), *highs.tolist()]
    if all(map(math.isfinite, (low, high, got_low, got_high))):
        energy = _table(got, want, lambda _, wanted: (_dot(wanted, wanted),), dtype).sum().item()
        rms = math.sqrt(energy / want.numel())
        return Survey(0, 0, 0, rms, low, high, got_low, got_high)
    return _odd_survey(got, want, dtype)


def _odd_survey(got: torch.Tensor, want: torch.Tensor, dtype: torch.dtype) -> Survey:
    """Where some elements are not finite."""

    def look(have: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, ...]:
        finite, sound = wanted.isfinite(), have.isfinite()
        values, mine = wanted.where(finite, 0.0), have.where(sound, 0.0)
        counts = (wanted.isnan().sum(), wanted.isinf().sum(), (~sound).sum())
        return (*counts, _dot(values, values), *values.aminmax(), *mine.aminmax())

    table = _table(got, want, look, dtype)
    nan, infinite, odd, energy = table[:, :4].sum(dim=0).tolist()
    low, got_low = table[:, [4, 6]].amin(dim=0).tolist()
    high, got_high = table[:, [5, 7]].amax(dim=0).tolist()
    rms = math.sqrt(energy / max(1.0, want.numel() - nan - infinite))
    return Survey(int(nan), int(infinite), int(odd), rms, low, high, got_low, got_high)


def _table(
    got: torch.Tensor, want: torch.Tensor, look: Callable[..., Sums], dtype: torch.dtype
) -> torch.Tensor:
    """What `look` makes of each chunk, as float64, one row a chunk."""
    import torch

    rows = [look(have.to(dtype), wanted.to(dtype)) for _, (have, wanted) in chunks(got, want, 1)]
    return torch.stack([torch.stack([x.to(torch.float64) for x in row]) for row in rows])


def _dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.dot(one.reshape(-1), other.reshape(-1))


def measure(got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance, seen: Survey) -> Errors:
    """One sync; a second look where something is wrong."""
    import torch

    wide = max(abs(x) for x in (seen.low, seen.high, seen.got_low, seen.got_high)) > 1e15
    dtype = torch.float64 if wide or want.dtype == torch.float64 else torch.float32
    width, rows, starts = width_of(want.shape, want.is_cuda), [], []
    for start, (have, wanted) in chunks(got, want, width):
        starts.append(start)
        rows.append(_chunk(have.to(dtype), wanted.to(dtype), tolerance, seen, want.dtype))
    table = torch.stack(rows)
    worst = table[:, 4].argmax()
    wrong, stray, dot, energy, squares = table[:, [0, 1, 6, 7, 8]].sum(dim=0).tolist()
    max_abs, max_rel, row_error = table[:, [2, 3, 4]].amax(dim=0).tolist()
    chunk, row = int(worst), int(table[worst, 5])
    gain, noise = gain_of(dot, energy, squares, want.numel() // width)
    return Errors(
        wrong=int(wrong),
        stray=int(stray),
        max_abs=max_abs,
        max_rel=max_rel,
        row_error=math.sqrt(row_error),
        row=starts[chunk] // width + row,
        gain=gain,
        gain_noise=noise,
        first=_first(got, want, tolerance, seen, dtype) if wrong else -1,
    )


def gain_of(dot: float, energy: float, squares: float, rows: int) -> tuple[float, float]:
    """The factor that fits got = gain * want best, and its standard error, from got.want,
    want.want and error.error over `rows` rows."""
    gain = dot / energy if energy else 1.0
    noise = max(0.0, squares / energy - (gain - 1.0) ** 2) if energy else 0.0
    return gain, math.sqrt(noise / rows)


def _wrong(
    have: torch.Tensor, wanted: torch.Tensor, tolerance: Tolerance, seen: Survey, kind: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """(wrong, stray or None, error, |want|, squared norm of each row, at least its floor)."""
    import torch

    error, magnitude = (have - wanted).abs_(), wanted.abs()
    stray = None
    if not seen.finite:
        finite = have.isfinite() & wanted.isfinite()
        stray = ~finite & (have != wanted)
        error, magnitude = error.where(finite, 0.0), magnitude.where(finite, 0.0)
    energy = magnitude.square().sum(dim=1, keepdim=True)
    width = magnitude.shape[1]
    # Between its smallest numbers a type has a step that no kernel can go below.
    step = torch.finfo(kind).smallest_normal * torch.finfo(kind).eps
    energy = energy.clamp_(min=max(FLOOR * seen.rms, step) ** 2 * width)
    allowed: torch.Tensor | float = tolerance.atol
    if tolerance.of_rms is not None:
        scale = (energy / width).sqrt()
        allowed = (tolerance.of_rms * scale).clamp_(max=tolerance.atol) + step
    wrong = error > magnitude * tolerance.rtol + allowed
    if stray is not None:
        wrong |= stray
    return wrong, stray, error, magnitude, energy


def _chunk(
    have: torch.Tensor, wanted: torch.Tensor, tolerance: Tolerance, seen: Survey, kind: torch.dtype
) -> torch.Tensor:
    """[wrong, stray, max_abs, max_rel, worst row's squared error, that row, got.want, want.want,
    error.error]"""
    import torch

    wrong, stray, error, magnitude, energy = _wrong(have, wanted, tolerance, seen, kind)
    if stray is not None:
        finite = have.isfinite() & wanted.isfinite()
        have, wanted = have.where(finite, 0.0), wanted.where(finite, 0.0)
    rows = error.square().sum(dim=1) / energy.flatten().clamp(min=torch.finfo(error.dtype).tiny)
    row_error, row = rows.max(dim=0)
    numbers = (
        wrong.count_nonzero(),
        wrong.new_zeros((), dtype=torch.int64) if stray is None else stray.count_nonzero(),
        error.amax(),
        (error / (magnitude + TINY)).amax(),
        row_error,
        row,
        _dot(have, wanted),
        _dot(wanted, wanted),
        _dot(error, error),
    )
    return torch.stack([x.to(torch.float64) for x in numbers])


def _first(
    got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance, seen: Survey, dtype: torch.dtype
) -> int:
    """Flat index of the first wrong element."""
    for start, (have, wanted) in chunks(got, want, width_of(want.shape, want.is_cuda)):
        wrong = _wrong(have.to(dtype), wanted.to(dtype), tolerance, seen, want.dtype)[0].view(-1)
        place = int(wrong.byte().argmax())
        if bool(wrong[place]):
            return start + place
    return -1
