"""The verdict on outputs: what counts as equal, and what never does."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.compare import check_form, compare, compare_values  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops.base import Tolerance  # noqa: E402

STRICT = Tolerance(atol=1e-3, rtol=1e-2)


def _one(got: list[float], want: list[float], tolerance: Tolerance = STRICT) -> object:
    return compare_values("out", torch.tensor(got), torch.tensor(want), tolerance)


@pytest.mark.parametrize(
    ("got", "want", "passed"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0 + 0.9e-2], [1.0], True),
        ([1.0 + 1.2e-2], [1.0], False),
        ([9e-4], [0.0], True),
        ([2e-3], [0.0], False),
        ([0.0], [100.0], False),
        ([math.inf, -math.inf], [math.inf, -math.inf], True),
        ([math.inf], [-math.inf], False),
        ([math.inf], [3e38], False),
        ([-3e38], [-math.inf], False),
        ([math.nan], [1.0], False),
        ([1.0], [math.nan], False),
        ([math.nan, 1.0], [math.nan, 1.0], True),
        ([], [], True),
    ],
)
def test_elements(got: list[float], want: list[float], passed: bool) -> None:
    assert (_one(got, want).status is Status.PASSED) is passed


def test_errors_are_measured() -> None:
    verdict = _one([1.0, 2.5, 4.0], [1.0, 2.0, 4.0])
    assert verdict.max_abs == pytest.approx(0.5)
    assert verdict.max_rel == pytest.approx(0.25)
    assert verdict.matched_ratio == pytest.approx(2 / 3)
    assert "1 of 3 elements differ, first at (1,)" in verdict.message


def test_a_stray_nan_makes_the_errors_infinite() -> None:
    verdict = _one([math.nan, 1.0], [1.0, 1.0])
    assert verdict.max_abs == verdict.max_rel == math.inf


def test_shared_nan_is_noted() -> None:
    assert "NaN in the reference too" in _one([math.nan], [math.nan]).message


def test_a_share_of_elements_may_differ() -> None:
    lenient = Tolerance(atol=0.0, rtol=0.0, matched_ratio=0.75)
    assert _one([1.0, 2.0, 3.0, 9.0], [1.0, 2.0, 3.0, 4.0], lenient).status is Status.PASSED
    assert _one([1.0, 2.0, 9.0, 9.0], [1.0, 2.0, 3.0, 4.0], lenient).status is not Status.PASSED
    # ... but a NaN is no near miss.
    assert _one([1.0, 2.0, 3.0, math.nan], [1.0, 2.0, 3.0, 4.0], lenient).status is not (
        Status.PASSED
    )


def test_integers_must_be_equal() -> None:
    want = torch.tensor([1, 2**40])
    loose = Tolerance(atol=10.0, rtol=10.0)
    assert compare_values("i", want.clone(), want, loose).status is Status.PASSED
    assert compare_values("i", want + 1, want, loose).status is Status.INCORRECT_NUMERICAL


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
def test_low_precision(dtype: str) -> None:
    want = torch.tensor([0.5, 1.0, -2.0]).to(getattr(torch, dtype))
    assert compare({"o": want.clone()}, {"o": want}, STRICT).status is Status.PASSED
    other = torch.tensor([0.5, 1.25, -2.0]).to(getattr(torch, dtype))
    assert compare({"o": other}, {"o": want}, STRICT).max_abs == pytest.approx(0.25)


def test_form_comes_first() -> None:
    want = {"o": torch.zeros(2, 3)}
    assert compare({"o": torch.zeros(3, 2)}, want, STRICT).status is Status.INCORRECT_SHAPE
    assert compare({"o": torch.zeros(2, 3).half()}, want, STRICT).status is Status.INCORRECT_DTYPE
    assert compare({"x": torch.zeros(2, 3)}, want, STRICT).status is Status.INCORRECT_SHAPE
    assert check_form({"o": torch.ones(2, 3)}, want).status is Status.PASSED


def test_the_worst_output_decides() -> None:
    want = {"a": torch.zeros(2), "b": torch.zeros(2)}
    verdict = compare({"a": torch.zeros(2), "b": torch.tensor([0.0, 5.0])}, want, STRICT)
    assert verdict.status is Status.INCORRECT_NUMERICAL
    assert (verdict.max_abs, verdict.matched_ratio) == (5.0, 0.5)
