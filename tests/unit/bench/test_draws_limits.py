"""Draws at the limits: statistics by hand, the edges of the support, how many make a sample."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge import draws  # noqa: E402
from kernelkit.bench.judge.draws import (  # noqa: E402
    compare_draws,
    deviation,
    draw_places,
    filtered,
    outside_support,
    outside_verdict,
    tied,
    unevenness,
)
from kernelkit.dataset.trace import Status  # noqa: E402

PROBS = torch.tensor([[0.4, 0.3, 0.2, 0.1]])


def _of(*counts: int) -> torch.Tensor:
    """A sample with so many of each value."""
    return torch.cat([torch.full((count,), value) for value, count in enumerate(counts)])


@pytest.mark.parametrize(
    ("chi", "freedom", "sigma"),
    [
        # Upper tails from tables of the chi-square: 0.05, 0.01 and 0.001.
        (3.841, 1, 1.645),
        (11.070, 5, 1.645),
        (23.209, 10, 2.326),
        (30.578, 15, 2.326),
        (37.697, 15, 3.090),
    ],
)
def test_a_chi_square_as_a_normal_deviate(chi: float, freedom: int, sigma: float) -> None:
    assert draws._normal(chi, freedom) == pytest.approx(sigma, abs=0.035)


def test_wilson_and_hilferty_by_hand() -> None:
    assert draws._normal(8.0, 1) == pytest.approx((2.0 - (1 - 2 / 9)) / math.sqrt(2 / 9))
    assert draws._normal(16.0, 2) == pytest.approx((2.0 - (1 - 1 / 9)) / math.sqrt(1 / 9))


def test_values_seen_less_than_ten_times_are_pooled() -> None:
    one = deviation(_of(30, 10, 6), _of(20, 20, 4))  # ten of the third: a value of its own
    # 46 against 44: each count is scaled to the other's sample
    scale = math.sqrt(44 / 46)
    chi = sum((scale * a - b / scale) ** 2 / (a + b) for a, b in ((30, 20), (10, 20), (6, 4)))
    assert one == pytest.approx(draws._normal(chi, 2))
    both = deviation(_of(30, 10, 6, 5), _of(20, 20, 4, 5))  # two of ten each are two values
    scale = math.sqrt(49 / 51)
    cells = ((30, 20), (10, 20), (6, 4), (5, 5))
    chi = sum((scale * a - b / scale) ** 2 / (a + b) for a, b in cells)
    assert both == pytest.approx(draws._normal(chi, 3))
    pooled = deviation(_of(30, 10, 5, 4), _of(20, 20, 4, 5))  # nine and nine: eighteen together
    chi = sum((a - b) ** 2 / (a + b) for a, b in ((30, 20), (10, 20), (9, 9)))
    assert pooled == pytest.approx(draws._normal(chi, 2))
    two = deviation(_of(30, 20), _of(20, 30))
    assert two == pytest.approx(draws._normal(2 * 10**2 / 50, 1))
    lonely = deviation(_of(30, 19, 1), _of(20, 30))  # a pool of one draw is still counted
    chi = 10**2 / 50 + 11**2 / 49 + 1
    assert lonely == pytest.approx(draws._normal(chi, 2))


@pytest.mark.parametrize("got", [torch.zeros(5, 3).long(), torch.zeros(0, 1).long()])
def test_draws_of_another_shape(got: torch.Tensor) -> None:
    verdict = compare_draws(got, torch.zeros(5, 1).long(), {"probs": PROBS})
    assert verdict.status is Status.INCORRECT_SHAPE


def test_other_inputs_than_probabilities_have_no_places() -> None:
    some = torch.zeros(400, 1).long()
    for inputs in ({}, {"probs": PROBS[0]}, {"probs": PROBS[None]}):
        assert unevenness(some, inputs) == 0.0
        assert outside_support(some, inputs) == 0
        assert compare_draws(some, some, inputs).status is Status.PASSED


def test_nothing_may_be_drawn_outside() -> None:
    verdict = outside_verdict(torch.tensor([4]), {"probs": PROBS})
    assert (verdict.max_abs, verdict.max_rel, verdict.matched_ratio) == (math.inf, math.inf, 0.0)
    inputs = {"probs": PROBS}
    assert [outside_support(torch.tensor([[t]]), inputs) for t in (-1, 0, 3, 4, 5)] == [
        1, 0, 0, 1, 1
    ]  # fmt: skip


@pytest.mark.parametrize(("top_k", "allowed"), [(0, 4), (1, 1), (2, 2), (4, 4), (5, 4)])
def test_how_many_tokens_top_k_keeps(top_k: int, allowed: int) -> None:
    inputs = {"probs": PROBS, "top_k": torch.tensor([top_k])}
    found = [outside_support(torch.tensor([[token]]), inputs) for token in range(4)]
    assert found == [0] * allowed + [1] * (4 - allowed)
    assert (filtered(inputs)[0] > 0).sum() == allowed


@pytest.mark.parametrize(
    ("top_p", "allowed", "kept"),
    [
        (0.0, 1, 1),  # the likeliest always is
        (0.39985, 1, 1),
        (0.39995, 2, 1),  # within the slack of sums
        (0.5, 2, 2),
        (0.69995, 3, 2),
        (1.0, 4, 4),
    ],
)
def test_how_many_tokens_top_p_keeps(top_p: float, allowed: int, kept: int) -> None:
    """Those with less than top_p of mass before them; a draw is refused a ten-thousandth later."""
    inputs = {"probs": PROBS, "top_p": torch.tensor([top_p])}
    found = [outside_support(torch.tensor([[token]]), inputs) for token in range(4)]
    assert found == [0] * allowed + [1] * (4 - allowed)
    assert (filtered(inputs)[0] > 0).sum() == kept


def test_top_p_of_what_top_k_leaves() -> None:
    """Halves and quarters, which are exact: at the edge a token is not kept."""
    probs = torch.tensor([[0.25, 0.25, 0.125, 0.375]])
    inputs = {"probs": probs, "top_k": torch.tensor([3]), "top_p": torch.tensor([0.7])}
    mass, tokens = filtered(inputs)
    assert tokens[0].tolist() == [3, 0, 1, 2]
    assert mass[0].tolist() == pytest.approx([0.6, 0.4, 0.0, 0.0])
    half = {"probs": torch.tensor([[0.5, 0.25, 0.25]]), "top_p": torch.tensor([0.5])}
    assert filtered(half)[0][0].tolist() == [1.0, 0.0, 0.0]


def test_ties_at_the_last_token() -> None:
    even = torch.tensor([[0.25] * 4])
    assert tied({"probs": even, "top_k": torch.tensor([3])}).tolist() == [True]
    assert tied({"probs": even, "top_k": torch.tensor([4])}).tolist() == [False]
    next_to = torch.tensor([[0.4, 0.3, 0.3, 0.2]])
    assert tied({"probs": next_to, "top_k": torch.tensor([2])}).tolist() == [True]
    uneven = torch.tensor([[0.4, 0.3, 0.2, 0.2]])
    assert tied({"probs": uneven, "top_k": torch.tensor([2])}).tolist() == [False]


def test_places_lie_in_the_share_of_their_token() -> None:
    places = draw_places(torch.tensor([[0], [1], [2], [3]] * 50), {"probs": PROBS})[:, 0]
    bounds = [0.0, 0.4, 0.7, 0.9, 1.0]
    for token in range(4):
        mine = places[token::4]
        low, high = bounds[token], bounds[token + 1]
        assert low - 1e-6 <= mine.min() and mine.max() <= high + 1e-6
        assert mine.max() - mine.min() > 0.8 * (high - low)
    assert places.max() < 1.0


@pytest.mark.parametrize(("each", "counted"), [(4, False), (5, True)])
def test_five_draws_a_bin_make_a_sample(each: int, counted: bool) -> None:
    counts = torch.zeros(16).double()
    counts[0] = 16 * each
    assert (draws._uneven(counts) > 5.0) is counted
    assert draws._uneven(counts) == (
        pytest.approx(draws._normal(240 * each, 15)) if counted else 0.0
    )


def test_rows_that_are_tied_are_not_counted() -> None:
    inputs = {"probs": torch.tensor([[0.25] * 4]), "top_k": torch.tensor([2])}
    assert unevenness(torch.zeros(400, 1).long(), inputs) == 0.0


def test_one_row_counts_once() -> None:
    """What all rows come to is no more than the one row's deviation."""
    got, want = _of(230, 170)[:, None], _of(200, 200)[:, None]
    row = deviation(got[:, 0], want[:, 0])
    verdict = compare_draws(got, want, {})
    assert f"largest deviation {row:.1f} sigma" in verdict.message
    both = compare_draws(got.expand(-1, 2), want.expand(-1, 2), {})
    assert f"largest deviation {row * math.sqrt(2):.1f} sigma" in both.message
