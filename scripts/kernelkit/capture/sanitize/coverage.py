"""Which workloads to keep: a spread over batch size and lengths, not the first N.

Each size (a feature) becomes its quantile among the sizes that occur, so that one and 64 requests
are as far apart as the range allows, however often each was called. In that cube the workload is
taken that is farthest from those taken before, again and again (Gonzalez 1985, k-center): first
the middle, then the corners of the joint distribution, then what lies between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy

    from kernelkit.capture.sanitize.candidates import Candidate

T = TypeVar("T")


def spread(
    candidates: Sequence[Candidate],
    held: Sequence[Mapping[str, int]],
    *,
    most: int | None,
    per_axes: int | None,
) -> list[Candidate]:
    """At most `most` candidates, of each set of axes at most `per_axes`, those of `held` counted.

    `held` are the axes of workloads that are there already and no candidates. The same input gives
    the same choice in any order.
    """
    ordered = sorted(candidates, key=lambda c: c.uuid)
    wanted = len(ordered) if most is None else min(most, len(ordered))
    room = Counter(_key(axes) for axes in held)
    if wanted == len(ordered) and per_axes is None:
        return ordered
    points, fixed = _points(ordered, held)
    nearest = _distances(points, fixed)
    chosen: list[Candidate] = []
    while len(chosen) < wanted and nearest.max(initial=-1.0) >= 0:
        at = int(nearest.argmax())
        key = _key(ordered[at].axes)
        if per_axes is not None and room[key] >= per_axes:
            nearest[at] = -1.0
            continue
        room[key] += 1
        chosen.append(ordered[at])
        nearest = _minimum(nearest, points, at)
    return chosen


def _key(axes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(axes.items()))


def _points(
    candidates: Sequence[Candidate], held: Sequence[Mapping[str, int]]
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Candidates and held workloads in the cube of quantiles, [number, features].

    A held workload lacks the features that its tensors would tell: those are left in the middle.
    """
    import numpy

    names = sorted({name for c in candidates for name in c.features})
    sizes = [[c.features.get(name, 0) for name in names] for c in candidates]
    table = numpy.array(sizes, dtype=float).reshape(len(candidates), len(names))
    points = numpy.full_like(table, 0.5)
    fixed = numpy.full((len(held), len(names)), 0.5)
    for column, name in enumerate(names):
        known = numpy.unique(table[:, column])
        scale = max(1, len(known) - 1)
        points[:, column] = numpy.searchsorted(known, table[:, column]) / scale
        for row, axes in enumerate(held):
            if name in axes:
                fixed[row, column] = min(1.0, numpy.searchsorted(known, axes[name]) / scale)
    return points, fixed


def _distances(points: numpy.ndarray, fixed: numpy.ndarray) -> numpy.ndarray:
    """How far each point is from what is held; with nothing held, how near the middle it is."""
    import numpy

    if not len(fixed):
        middle = numpy.abs(points - 0.5).sum(axis=1)
        # Above every later distance, so that the first one taken is the most typical.
        return points.shape[1] + 1.0 - middle / (points.shape[1] + 1.0)
    nearest = numpy.full(len(points), numpy.inf)
    for row in fixed:
        nearest = numpy.minimum(nearest, numpy.abs(points - row).sum(axis=1))
    return nearest


def _minimum(nearest: numpy.ndarray, points: numpy.ndarray, at: int) -> Any:
    """The distances after one more was taken; what was taken or refused stays below 0."""
    import numpy

    fresh = numpy.abs(points - points[at]).sum(axis=1)
    updated = numpy.where(nearest < 0, -1.0, numpy.minimum(nearest, fresh))
    updated[at] = -1.0
    return updated
