"""The sums of a comparison against plain formulas, row by row, in float64."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge.compare import compare_values  # noqa: E402
from kernelkit.bench.judge.elements import (  # noqa: E402
    CPU_CHUNK,
    Survey,
    gain_of,
    measure,
    survey,
    width_of,
)
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops.base import Tolerance  # noqa: E402

FLOOR, TINY = 1 / 16, 1e-8
LOOSE = Tolerance(atol=1.0, rtol=1.0, of_rms=None)


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _odd(count: int = 3 * CPU_CHUNK) -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, 32], extremes in different chunks, infinities that both have, two strays of got."""
    want = _noise(count // 32, 32, seed=1)
    got = want * 1.05 + 0.01 * _noise(count // 32, 32, seed=2)
    for side, low, high in ((want, -7.5, 8.5), (got, -9.5, 10.5)):
        side[7, 3], side[-9, 5] = high, low
        side[20, :31], side[-2, 4] = -math.inf, math.inf
    got[5, 6], got[6, 7] = math.nan, math.inf
    return got, want


def test_a_row_has_sixteen_elements_at_least() -> None:
    shapes = {(5, 16): 16, (5, 15): 75, (5, 17): 17, (4, 3, 5): 60, (3, 4, 4): 16, (): 1, (3,): 3}
    assert {shape: width_of(shape, False) for shape in shapes} == shapes
    assert width_of((2, (1 << 17) + 5), False) == 1 << 17
    assert width_of((2, (1 << 17) + 5), True) == (1 << 17) + 5
    assert width_of((2, (1 << 24) + 5), True) == 1 << 24


def test_the_survey_of_finite_values() -> None:
    want, got = _noise(3 * CPU_CHUNK // 32, 32), _noise(3 * CPU_CHUNK // 32, 32, seed=1) * 2
    for place, value in ((40, 9.0), (-40, -8.0)):
        want.view(-1)[place], got.view(-1)[place] = value, value * 2
    seen = survey(got, want, torch.float32)
    rms = float(want.double().square().mean().sqrt())
    assert seen == Survey(0, 0, 0, pytest.approx(rms, rel=1e-6), -8.0, 9.0, -16.0, 18.0)
    assert seen.finite


def test_the_survey_of_what_is_not_finite() -> None:
    got, want = _odd()
    want[3, 3] = math.nan
    known = want[want.isfinite()].double()
    seen = survey(got, want, torch.float32)
    rms = float(known.square().mean().sqrt())
    assert seen == Survey(1, 32, 34, pytest.approx(rms, rel=1e-6), -7.5, 8.5, -9.5, 10.5)


@pytest.mark.parametrize("odd", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_one_odd_element_is_not_finite(odd: tuple[int, int, int]) -> None:
    assert not Survey(*odd, 1.0, -1.0, 1.0, -1.0, 1.0).finite


def test_the_scale_of_a_single_finite_element_is_its_own() -> None:
    want = torch.tensor([-math.inf, 3.0, math.inf])
    assert survey(want, want, torch.float32) == Survey(0, 2, 2, 3.0, 0.0, 3.0, 0.0, 3.0)
    nothing = torch.full((3,), -math.inf)
    assert survey(nothing, nothing, torch.float32).rms == 0.0


def test_all_sums_with_infinities_among_them() -> None:
    got, want = _odd()
    found = measure(got, want, LOOSE, survey(got, want, torch.float32))
    both = got.isfinite() & want.isfinite()
    mine, theirs = got.double().where(both, 0.0), want.double().where(both, 0.0)
    error = (mine - theirs).abs()
    seen = want.double().where(want.isfinite(), 0.0)
    rms = (seen.square().sum() / want.isfinite().sum()).sqrt()
    norms = theirs.norm(dim=1).clamp(min=float(FLOOR * rms * math.sqrt(32)))
    rows = error.norm(dim=1) / norms
    gain = float((mine * theirs).sum() / theirs.square().sum())
    noise = float(error.square().sum() / theirs.square().sum()) - (gain - 1) ** 2
    assert (found.stray, found.wrong) == (2, 2 + int((error > 1.0 + theirs.abs()).sum()))
    assert found.max_abs == pytest.approx(float(error.max()), rel=1e-6)
    assert found.max_rel == pytest.approx(float((error / (theirs.abs() + TINY)).max()), rel=1e-5)
    assert found.row_error == pytest.approx(float(rows.max()), rel=1e-5)
    assert found.row == int(rows.argmax())
    assert found.gain == pytest.approx(gain, rel=1e-6)
    assert found.gain_noise == pytest.approx(math.sqrt(noise / len(want)), rel=1e-3)
    assert found.first == 5 * 32 + 6


def test_the_scale_of_a_row_is_that_of_its_finite_elements() -> None:
    want = torch.full((4, 32), 0.1)
    want[2, 1:] = -math.inf
    got = want.clone()
    got[2, 0] = 0.2
    found = measure(got, want, LOOSE, survey(got, want, torch.float32))
    assert found.row == 2
    assert found.row_error == pytest.approx(1.0, rel=1e-5)


def test_strays_count_among_the_elements_that_differ() -> None:
    verdict = compare_values(
        "o", torch.tensor([math.nan, 1.0, math.inf, 1.0]), torch.ones(4), LOOSE
    )
    assert verdict.matched_ratio == 0.5
    assert verdict.message == (
        "o: 2 NaN or infinities where the reference has none, or the reverse"
    )


def test_the_gain_of_what_has_infinities() -> None:
    """Infinities that both have say nothing of a gain, and hide none."""
    want = _noise(64, 32)
    want[:, 3] = -math.inf
    held = Tolerance(atol=1.0, rtol=1.0, of_rms=None, gain_error=0.01)
    assert compare_values("o", want.clone(), want, held).status is Status.PASSED
    assert "1.0500 times" in compare_values("o", want * 1.05, want, held).message


def test_a_gain_and_its_standard_error() -> None:
    gain, noise = gain_of(2.2, 2.0, 0.5, 4)
    assert (gain, noise) == (pytest.approx(1.1), pytest.approx(math.sqrt((0.25 - 0.01) / 4)))
    assert gain_of(0.0, 0.0, 0.0, 4) == gain_of(0.0, 0.0, 3.0, 4) == (1.0, 0.0)


@pytest.mark.parametrize(("error", "status"), [(0.995, "PASSED"), (1.005, "INCORRECT_NUMERICAL")])
def test_no_row_is_taken_to_be_smaller_than_a_sixteenth_of_all(error: float, status: str) -> None:
    """A row of zeros among rows of ones, off by a tenth of the least scale, and by the share of it
    that each element may be off."""
    want = torch.ones(16, 32)
    want[4] = 0.0
    scale = math.sqrt(15 / 16) / 16
    for limits, off in (
        (Tolerance(1.0, 1.0, of_rms=None, row_error=0.1), 0.1 * scale),
        (Tolerance(1.0, 0.0, of_rms=0.03), 0.03 * scale),
    ):
        got = want.clone()
        got[4] += error * off
        verdict = compare_values("o", got, want, limits)
        assert verdict.status.value == status
        assert verdict.max_rel == pytest.approx(error * off / TINY, rel=1e-5)


def test_the_step_of_a_type_is_no_more_than_that() -> None:
    zeros = torch.zeros(4, 32).half()
    held = Tolerance(atol=1.0, rtol=0.0)
    assert compare_values("o", zeros + 6e-8, zeros, held).status is Status.PASSED
    assert compare_values("o", zeros + 1e-6, zeros, held).status is not Status.PASSED


def test_float64_is_compared_in_float64() -> None:
    want = torch.arange(1.0, 129.0).view(4, 32).double()
    fine = Tolerance(atol=1e-12, rtol=0.0, of_rms=None)
    assert compare_values("o", want + 1e-13, want, fine).status is Status.PASSED
    assert compare_values("o", want + 1e-10, want, fine).status is not Status.PASSED


def test_the_worst_row_is_named_in_whichever_chunk_it_is() -> None:
    want = _noise(40_000, 16)
    got = want * 1.001
    got[30_000] *= 1.01
    got[3] *= 1.005
    held = Tolerance(1.0, 1.0, of_rms=None, row_error=0.005)
    assert "row 30000 is 1.1" in compare_values("o", got, want, held).message
    found = measure(got, want, held, survey(got, want, torch.float32))
    assert (found.wrong, found.stray, found.first) == (0, 0, -1)
