"""The verdict on outputs: what counts as equal, and what never does."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge.compare import (  # noqa: E402
    BadReferenceError,
    OutputError,
    Verdict,
    check_form,
    compare,
    compare_values,
    worst,
)
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
        ([9e-4, 1.0], [0.0, 1.0], True),
        ([2e-3, 1.0], [0.0, 1.0], False),
        ([0.0], [100.0], False),
        ([math.inf, -math.inf], [math.inf, -math.inf], True),
        ([math.inf], [-math.inf], False),
        ([math.inf], [3e38], False),
        ([-3e38], [-math.inf], False),
        ([math.nan], [1.0], False),
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


@pytest.mark.parametrize("got", [[math.nan, 1.0], [0.0, 1.0]])
def test_a_nan_in_the_reference_is_the_definitions_error(got: list[float]) -> None:
    with pytest.raises(BadReferenceError, match="out: 1 elements are NaN in the reference"):
        _one(got, [math.nan, 1.0])


@pytest.mark.parametrize("scale", [3e-5, 1.0, 3e30])
def test_the_absolute_tolerance_shrinks_with_the_outputs_scale(scale: float) -> None:
    want = torch.randn(4, 256, generator=torch.Generator().manual_seed(0)) * scale
    loose = Tolerance(atol=1e-2, rtol=0.0)
    assert compare_values("o", want + 0.009 * min(scale, 1.0), want, loose).status is Status.PASSED
    off = want + 0.05 * scale
    assert compare_values("o", off, want, loose).status is not Status.PASSED


def test_each_row_has_a_scale() -> None:
    """A row a hundred times smaller than the others may not be garbage."""
    want = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    want[5] /= 100
    got = want.clone()
    got[5] = 0.0
    verdict = compare_values("o", got, want, Tolerance(atol=1e-2, rtol=1e-2))
    assert "first at (5, " in verdict.message


@pytest.mark.parametrize("value", [0.0, 3e-5])
def test_a_constant_is_refused(value: float) -> None:
    want = torch.full((64,), 3e-5)
    want[::3] += 1e-9  # within any tolerance, but no constant
    got = torch.full((64,), value)
    verdict = compare_values("o", got, want, Tolerance(atol=1.0, rtol=1.0, of_rms=None))
    assert f"constant {value:g} where the reference is not" in verdict.message
    assert compare_values("o", got, got.clone(), STRICT).status is Status.PASSED


def test_zeros_for_a_constant_are_refused() -> None:
    verdict = compare_values(
        "o", torch.zeros(64), torch.full((64,), 1e-3), Tolerance(atol=1.0, rtol=0.0, of_rms=None)
    )
    assert "all zeros where the reference is not" in verdict.message


def test_a_rounded_constant_passes() -> None:
    want = torch.tensor([1.0, 1.0078125, 1.0, 1.0]).to(torch.bfloat16)
    assert compare_values("o", torch.ones(4).to(want), want, STRICT).status is Status.PASSED


def test_zeros_must_be_zeros() -> None:
    """Nothing is near a row of zeros but zeros, up to what a type can hold."""
    zeros = torch.zeros(4, 32)
    assert compare_values("o", zeros.clone(), zeros, STRICT).status is Status.PASSED
    assert compare_values("o", zeros + 1e-6, zeros, STRICT).status is not Status.PASSED
    small = torch.full((4, 32), 6e-8).half()
    assert compare_values("o", small, zeros.half(), STRICT).status is Status.PASSED


def test_a_row_is_held_to_its_norm() -> None:
    """What each element may be off, a row may not."""
    want = torch.randn(100, 128, generator=torch.Generator().manual_seed(0))
    got = want.clone()
    got[42] *= 1.02
    loose = Tolerance(atol=1e-2, rtol=5e-2)
    assert compare_values("o", got, want, loose).status is Status.PASSED
    verdict = compare_values("o", got, want, Tolerance(1e-2, 5e-2, row_error=0.015))
    assert verdict.message == "o: the error of row 42 is 2.00% of its norm, at most 1.50%"


def test_the_gain_of_the_whole() -> None:
    want = torch.randn(100, 128, generator=torch.Generator().manual_seed(0))
    noise = 0.05 * torch.randn(100, 128, generator=torch.Generator().manual_seed(1))
    loose = Tolerance(atol=1.0, rtol=1.0, of_rms=None, gain_error=0.01)
    assert compare_values("o", want + noise, want, loose).status is Status.PASSED
    verdict = compare_values("o", want * 1.03 + noise, want, loose)
    assert verdict.message.startswith("o: 1.03") and "times the reference" in verdict.message


def test_a_gain_by_chance_is_allowed() -> None:
    """One row of low-bit values is off by more than the gain that a hundred rows may have."""
    want = torch.randn(1, 128, generator=torch.Generator().manual_seed(0))
    loose = Tolerance(atol=1.0, rtol=1.0, of_rms=None, gain_error=0.01)
    got = want * 1.03 + 0.05 * torch.randn(1, 128, generator=torch.Generator().manual_seed(1))
    assert compare_values("o", got, want, loose).status is Status.PASSED


def test_an_output_may_have_its_own_tolerance() -> None:
    want = {"output": torch.ones(32) + torch.arange(32.0), "lse": torch.arange(32.0) + 10}
    got = {"output": want["output"] * 1.04, "lse": want["lse"] * 1.04}
    loose = Tolerance(atol=1e-2, rtol=5e-2)
    assert compare(got, want, loose).status is Status.PASSED
    strict = Tolerance(atol=1e-2, rtol=5e-2, each={"lse": Tolerance(1e-2, 1e-3)})
    verdict = compare(got, want, strict)
    assert verdict.message.startswith("lse: ") and verdict.outputs["output"].matched_ratio == 1.0


@pytest.mark.parametrize("shape", [(3, 100_003), (700_001,), (5, 7, 11), (1, 1), (400_000, 3)])
def test_all_chunks_are_seen(shape: tuple[int, ...]) -> None:
    """Against the plain formula, with one wrong element at a random place."""
    rng = torch.Generator().manual_seed(len(shape))
    want = torch.randn(shape, generator=rng)
    got = want + 1e-4 * torch.randn(shape, generator=rng)
    place = int(torch.randint(want.numel(), (), generator=rng))
    got.view(-1)[place] += 3.0
    verdict = compare_values("o", got, want, Tolerance(atol=1e-3, rtol=0.0, of_rms=None))
    error = (got.double() - want.double()).abs()
    assert verdict.max_abs == pytest.approx(float(error.max()), rel=1e-6)
    assert verdict.matched_ratio == pytest.approx(1 - 1 / want.numel(), abs=1e-12)
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), shape))
    assert f"1 of {want.numel()} elements differ, first at {index}" in verdict.message


def test_layouts_do_not_matter() -> None:
    want = torch.randn(64, 32)
    assert compare_values("o", want.T.contiguous().T, want, STRICT).status is Status.PASSED
    assert compare_values("o", want, want.T.contiguous().T, STRICT).status is Status.PASSED


class Duck(torch.Tensor):
    """A tensor that could overload what the comparison does."""


def test_only_plain_tensors_are_outputs() -> None:
    want = {"o": torch.zeros(2, 3)}
    for value in (torch.zeros(2, 3).as_subclass(Duck), torch.zeros(2, 3).to_sparse(), [0.0], None):
        verdict = compare({"o": value}, want, STRICT)
        assert verdict.status is Status.INCORRECT_DTYPE and "expected a plain" in verdict.message


def test_the_count_is_exact() -> None:
    want = {"a": torch.zeros(2), "b": torch.zeros(2)}
    assert compare({"a": torch.zeros(2)}, want, STRICT).status is Status.INCORRECT_SHAPE
    more = {**want, "c": torch.zeros(2)}
    assert compare(more, want, STRICT).status is Status.INCORRECT_SHAPE


def test_outputs_are_reported_each() -> None:
    want = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([4, 5])}
    verdict = compare({"a": torch.tensor([1.0, 2.5]), "b": torch.tensor([4, 7])}, want, STRICT)
    assert verdict.outputs["a"] == OutputError(0.5, pytest.approx(0.25), 0.5)
    assert verdict.outputs["b"] == OutputError(2.0, pytest.approx(0.4), 0.5)
    again = worst([verdict, Verdict(Status.PASSED, outputs={"a": OutputError(9.0, 0.0, 1.0)})])
    assert again.outputs["a"] == OutputError(9.0, pytest.approx(0.25), 0.5)


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
    want = {"a": torch.ones(2), "b": torch.ones(2)}
    verdict = compare({"a": torch.ones(2), "b": torch.tensor([1.0, 6.0])}, want, STRICT)
    assert verdict.status is Status.INCORRECT_NUMERICAL
    assert (verdict.max_abs, verdict.matched_ratio) == (5.0, 0.5)
