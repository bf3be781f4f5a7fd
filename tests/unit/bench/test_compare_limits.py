"""Right at the limits of a comparison: what is allowed passes, the next step does not."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge.compare import (  # noqa: E402
    GAIN_ELEMENTS,
    OutputError,
    Verdict,
    check_form,
    compare,
    compare_values,
    faults_of,
    worst,
)
from kernelkit.bench.judge.elements import CPU_CHUNK, ROW, Errors, Survey  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops.base import Tolerance  # noqa: E402

PASSED, WRONG = Status.PASSED, Status.INCORRECT_NUMERICAL
LOOSE = Tolerance(atol=1.0, rtol=1.0, of_rms=None)
EPS = torch.finfo(torch.float32).eps


def _status(got: list[float], want: list[float], tolerance: Tolerance = LOOSE) -> Status:
    return compare_values("o", torch.tensor(got), torch.tensor(want), tolerance).status


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_no_verdicts_are_a_clean_pass() -> None:
    clean = Verdict(PASSED, 0.0, 0.0, 1.0, "", {})
    assert worst([]) == Verdict(PASSED) == clean
    assert compare({}, {}, LOOSE) == check_form({}, {}) == clean
    empty = compare_values("o", torch.zeros(0, 4), torch.zeros(0, 4), LOOSE)
    assert empty == Verdict(PASSED, 0.0, 0.0, 1.0, "", {"o": OutputError(0.0, 0.0, 1.0)})


def test_the_first_failure_names_the_status() -> None:
    shape, wrong = Verdict(Status.INCORRECT_SHAPE, 0.0, 7.0), Verdict(WRONG, 3.0, 0.0, 0.5)
    assert worst([Verdict(PASSED), wrong, shape]) == Verdict(WRONG, 3.0, 7.0, 0.5)
    assert worst([shape, wrong]).status is Status.INCORRECT_SHAPE


def test_the_form_alone_is_judged_too() -> None:
    want = {"o": torch.zeros(2, 3)}
    assert check_form({"o": torch.zeros(3, 2)}, want).status is Status.INCORRECT_SHAPE
    assert check_form({"o": torch.zeros(2, 3).half()}, want).status is Status.INCORRECT_DTYPE


def test_limits_of_nothing_allow_what_is_equal() -> None:
    exact = Tolerance(0.0, 0.0, of_rms=None, row_error=0.0, gain_error=0.0)
    want = _noise(4, GAIN_ELEMENTS)
    assert compare_values("o", want.clone(), want, exact).status is PASSED
    assert compare_values("o", want * (1 + 4 * EPS), want, exact).status is WRONG


def test_a_row_near_enough_passes() -> None:
    want = _noise(8, ROW)
    held = Tolerance(1.0, 1.0, of_rms=None, row_error=0.02)
    assert compare_values("o", want * 1.01, want, held).status is PASSED
    assert compare_values("o", want * 1.03, want, held).status is WRONG


@pytest.mark.parametrize(
    ("tolerance", "least"),
    [
        (Tolerance(1.0, 1.0, of_rms=None, row_error=0.01), ROW),
        (Tolerance(1.0, 1.0, of_rms=None, gain_error=0.01), GAIN_ELEMENTS),
    ],
)
def test_a_sum_over_few_elements_says_nothing(tolerance: Tolerance, least: int) -> None:
    assert (ROW, GAIN_ELEMENTS) == (16, 64)
    for count, status in ((least, WRONG), (least - 1, PASSED)):
        want = _noise(count)
        assert compare_values("o", want * 1.05, want, tolerance).status is status


@pytest.mark.parametrize(("noise", "refused"), [(0.0, True), (0.006, True), (0.008, False)])
def test_three_standard_errors_of_a_gain_are_not_held_against_it(
    noise: float, refused: bool
) -> None:
    """1.03 is 0.02 beyond a limit of 0.01: three of 0.006 leave 0.002 of it, of 0.008 nothing."""
    errors = Errors(0, 0, 0.1, 0.1, 0.0, 0, 1.03, noise, -1)
    seen = Survey(0, 0, 0, 1.0, -1.0, 1.0, -1.03, 1.03)
    tolerance = Tolerance(1.0, 1.0, gain_error=0.01)
    assert bool(faults_of(tolerance, seen, errors, torch.zeros(100), 1.0)) is refused


def test_a_spread_of_four_roundings_may_come_out_as_one_value() -> None:
    assert _status([1.0, 1.0], [1.0 - 4 * EPS, 1.0]) is PASSED
    assert _status([1.0, 1.0], [1.0 - 5 * EPS, 1.0]) is WRONG
    assert _status([-1.0, -1.0], [-1.0, -1.0 + 5 * EPS]) is WRONG


def test_a_single_element_is_no_constant() -> None:
    assert _status([0.0], [1e-4]) is PASSED
    assert _status([0.0, 0.0], [1e-4, 1e-4]) is WRONG


def test_zeros_beside_an_expected_infinity_pass_by_tolerance() -> None:
    """A log-sum-exp of -inf for an empty row, and one that rounds to nothing."""
    held = Tolerance(atol=1e-3, rtol=0.0, of_rms=None)
    assert _status([-math.inf, 0.0], [-math.inf, 1e-7], held) is PASSED
    assert _status([-math.inf, 0.0], [-math.inf, 1e-2], held) is WRONG


def test_rows_of_huge_values_are_held_to_their_norm() -> None:
    """Squares of these leave float32: a root mean square of infinity would excuse every row."""
    want = _noise(8, 64) * 1e25
    got = want.clone()
    got[5] *= 1.05
    held = Tolerance(atol=1.0, rtol=0.1, row_error=0.02)
    assert compare_values("o", want.clone(), want, held).status is PASSED
    assert "row 5" in compare_values("o", got, want, held).message


def test_integers_are_counted_over_all_chunks() -> None:
    want = torch.full((2 * CPU_CHUNK + 9,), 4, dtype=torch.int32)
    got = want.clone()
    got[5] += 2
    got[-3] -= 9
    verdict = compare_values("i", got, want, LOOSE)
    assert (verdict.max_abs, verdict.max_rel) == (9.0, 9 / 4)
    assert verdict.matched_ratio == pytest.approx(1 - 2 / want.numel(), abs=1e-12)
    assert f"2 of {want.numel()} elements differ, first at (5,)" in verdict.message


def test_the_relative_error_of_a_small_integer_is_its_absolute_one() -> None:
    verdict = compare_values("i", torch.tensor([3, 1]), torch.tensor([0, 1]), LOOSE)
    assert (verdict.max_abs, verdict.max_rel) == (3.0, 3.0)
