"""Which elements are wrong, and what a hypothesis explains."""

from __future__ import annotations

import math

import pytest

from kernelkit.ops.base import Tolerance
from kernelkit.solutions.doctor.matching import Observation, differ, fit

torch = pytest.importorskip("torch")

LOOSE = Tolerance(atol=1e-2, rtol=5e-2)


def _observation(got: object, want: object, tolerance: Tolerance = LOOSE) -> Observation:
    return Observation("small", "output", torch.tensor(got), torch.tensor(want), tolerance, True)


def test_infinities_and_nan_match_their_like() -> None:
    got = torch.tensor([math.inf, -math.inf, math.nan, 1.0, math.nan])
    want = torch.tensor([math.inf, math.inf, math.nan, math.inf, 1.0])
    assert differ(got, want, LOOSE).tolist() == [False, True, False, True, True]


def test_integers_must_be_equal() -> None:
    assert differ(torch.tensor([1, 2]), torch.tensor([1, 3]), LOOSE).tolist() == [False, True]


def test_the_absolute_tolerance_shrinks_with_the_row() -> None:
    want = torch.full((1, 16), 1e-3)
    assert not differ(want * 1.04, want, LOOSE).any()
    assert differ(want * 1.2, want, LOOSE).all()


def test_a_hypothesis_explains_wrong_elements_and_breaks_right_ones() -> None:
    seen = _observation([1.0, 2.0, 6.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert seen.wrong.tolist() == [False, False, True, True]
    exact = fit([seen], [torch.tensor([1.0, 2.0, 6.0, 8.0])])
    assert exact.explains() and exact.residual == 0.0 and exact.share == 1.0
    half = fit([seen], [torch.tensor([1.0, 2.0, 6.0, 4.0])])
    assert not half.explains() and half.share == 0.5
    doubled = fit([seen], [seen.want * 2])
    assert doubled.explained == 2 and doubled.broken == 2 and not doubled.explains()


def test_near_is_not_enough_where_the_error_is_small() -> None:
    want = torch.linspace(1.0, 2.0, 64)
    seen = Observation("small", "output", want * 1.1, want, LOOSE, True)
    assert bool(seen.wrong.all())
    assert fit([seen], [want * 1.05]).residual == pytest.approx(0.5, abs=0.01)
    assert not fit([seen], [want * 1.05]).explains()
    assert fit([seen], [want * 1.1]).explains()


def test_each_case_must_be_explained() -> None:
    many = _observation([[2.0] * 400], [[1.0] * 400])
    few = _observation([5.0, 5.0], [1.0, 1.0])
    both = fit([many, few], [many.got, few.want])
    assert both.share > 0.99 and both.least == 0.0 and not both.explains()


def test_a_refused_output_without_wrong_elements_is_looked_at_closely() -> None:
    want = torch.linspace(1.0, 2.0, 1000)
    seen = Observation("small", "output", want * 1.02, want, LOOSE, True)
    assert seen.tighten < 1.0
    assert float(seen.wrong.float().mean()) > 0.9
    assert fit([seen], [want * 1.02]).explains()


def test_undecided_rows_count_for_nothing() -> None:
    got, want = torch.tensor([[9.0], [2.0]]), torch.tensor([[9.0], [1.0]])
    rows = torch.tensor([True, False])
    seen = Observation("small", "output", got, want, LOOSE, True, rows)
    assert fit([seen], [torch.tensor([[0.0], [2.0]])]).explains()


def test_another_shape_explains_nothing() -> None:
    seen = _observation([2.0, 2.0], [1.0, 1.0])
    assert not fit([seen], [torch.tensor([[2.0, 2.0]])]).explains()
