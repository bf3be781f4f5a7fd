"""Random draws: a right sampler passes, a biased or lawless one does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge.draws import (  # noqa: E402
    LIMIT,
    compare_draws,
    compare_pooled,
    decided_places,
    deviation,
    draw_places,
    filtered,
    outside_support,
    outside_verdict,
    tied,
    unevenness,
)
from kernelkit.dataset.trace import Status  # noqa: E402

PROBS = torch.tensor([[0.4, 0.3, 0.2, 0.1, 0.0], [0.2, 0.2, 0.2, 0.2, 0.2]])


def _draw(probs: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.multinomial(probs, count, replacement=True, generator=rng).t().contiguous()


def test_two_right_samplers_agree() -> None:
    scores = [
        deviation(_draw(PROBS, 300, seed)[:, 0], _draw(PROBS, 500, 1000 + seed)[:, 0])
        for seed in range(200)
    ]
    assert max(scores) < LIMIT
    # A statistic that is calibrated has mean near 0 and deviation near 1.
    assert abs(torch.tensor(scores).mean()) < 0.3
    assert 0.7 < torch.tensor(scores).std() < 1.3


def test_unequal_frequencies_are_refused() -> None:
    biased = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0], [0.2, 0.2, 0.2, 0.2, 0.2]])
    got, want = _draw(biased, 300, 1), _draw(PROBS, 300, 2)
    verdict = compare_draws(got, want, {"probs": PROBS})
    assert verdict.status is Status.INCORRECT_NUMERICAL
    assert "frequencies differ" in verdict.message


def test_a_constant_is_refused() -> None:
    got = torch.zeros(300, 2, dtype=torch.int64)
    assert compare_draws(got, _draw(PROBS, 300, 1), {"probs": PROBS}).status is not Status.PASSED


def test_a_right_sampler_passes() -> None:
    verdict = compare_draws(_draw(PROBS, 200, 1), _draw(PROBS, 300, 2), {"probs": PROBS})
    assert verdict.status is Status.PASSED


def test_a_single_value_has_no_deviation() -> None:
    assert deviation(torch.zeros(50), torch.zeros(50)) == 0.0


@pytest.mark.parametrize(
    ("tokens", "inputs", "outside"),
    [
        ([[0, 1], [2, 3]], {}, 0),
        ([[4, 0], [0, 0]], {}, 1),  # probability zero
        ([[5, 0], [-1, 0]], {}, 2),  # no token
        ([[2, 0], [1, 0]], {"top_k": torch.tensor([2, 5])}, 1),
        ([[2, 0], [1, 4]], {"top_k": torch.tensor([0, 1])}, 0),  # 0: no limit; ties all count
        ([[1, 0], [2, 0]], {"top_p": torch.tensor([0.6, 1.0])}, 1),
        ([[1, 0], [0, 0]], {"top_p": torch.tensor([0.3, 1.0])}, 1),
        # Of the two likeliest, the first has 4/7 of the mass: the second is in reach of 0.6 only.
        ([[1, 0]], {"top_k": torch.tensor([2, 5]), "top_p": torch.tensor([0.6, 1.0])}, 0),
        ([[1, 0]], {"top_k": torch.tensor([2, 5]), "top_p": torch.tensor([0.5, 1.0])}, 1),
    ],
)
def test_support(tokens: list[list[int]], inputs: dict[str, object], outside: int) -> None:
    draws = torch.tensor(tokens)
    assert outside_support(draws, {"probs": PROBS, **inputs}) == outside


def test_what_may_not_be_drawn_fails_at_once() -> None:
    got = _draw(PROBS, 300, 1)
    got[7, 0] = 4
    verdict = compare_draws(got, _draw(PROBS, 300, 2), {"probs": PROBS})
    assert verdict.status is Status.INCORRECT_NUMERICAL
    assert "1 of 600 draws" in verdict.message


def test_other_ops_have_no_support_check() -> None:
    assert outside_support(torch.zeros(3, 2), {"x": PROBS}) == 0


FLAT = torch.full((2, 20_000), 1 / 20_000)  # each token is seen too rarely to be counted


def test_places_of_right_draws_are_uniform() -> None:
    inputs = {"probs": PROBS, "top_k": torch.tensor([3, 5]), "top_p": torch.tensor([1.0, 0.7])}
    mass, tokens = filtered(inputs)
    scores = []
    for seed in range(50):
        ranks = _draw(mass.float(), 400, seed)
        draws = tokens.gather(1, ranks.t()).t()
        assert outside_support(draws, inputs) == 0
        scores.append(unevenness(draws, inputs))
    assert max(scores) < LIMIT
    places = draw_places(draws, inputs)
    assert places.shape == (400, 2)
    assert 0.4 < places.mean() < 0.6 and places.min() >= 0.0 and places.max() < 1.0


def test_the_filtered_distribution_is_the_references() -> None:
    inputs = {"probs": PROBS, "top_k": torch.tensor([3, 0]), "top_p": torch.tensor([0.5, 0.5])}
    mass, tokens = filtered(inputs)
    # Of 4/9, 3/9 and 2/9 the second crosses 0.5; of five fifths the third does.
    torch.testing.assert_close(mass[0, :3], torch.tensor([4 / 7, 3 / 7, 0.0]).double())
    torch.testing.assert_close(mass[1, :4], torch.tensor([1 / 3] * 3 + [0.0]).double())
    assert tokens[0, :3].tolist() == [0, 1, 2]


def test_a_bias_in_a_flat_distribution_is_refused() -> None:
    """Its values are too rare for the two-sample test, their places are not."""
    half = FLAT.clone()
    half[:, 10_000:] = 0.0
    got, want = _draw(half, 300, 1), _draw(FLAT, 300, 2)
    assert deviation(got[:, 0], want[:, 0]) == 0.0
    assert compare_draws(got, want, {"probs": FLAT}).status is Status.INCORRECT_NUMERICAL
    right = _draw(FLAT, 300, 3)
    assert compare_draws(right, want, {"probs": FLAT}).status is Status.PASSED


def test_rows_add_up() -> None:
    """Sixty rows, each a little off, are far off together."""
    probs = torch.tensor([[0.45, 0.3, 0.15, 0.1]]).expand(60, 4)
    sharper = probs**1.3 / (probs**1.3).sum(dim=1, keepdim=True)
    got, want = _draw(sharper, 100, 1), _draw(probs, 100, 2)
    assert max(deviation(got[:, i], want[:, i]) for i in range(60)) < LIMIT
    assert compare_draws(got, want, {"probs": probs}).status is Status.INCORRECT_NUMERICAL


def test_ties_at_the_cut_are_nobodys_fault() -> None:
    inputs = {"probs": PROBS, "top_k": torch.tensor([2, 2])}
    assert tied(inputs).tolist() == [False, True]
    other = torch.stack(
        [_draw(PROBS[:1, :2], 400, 1)[:, 0], _draw(PROBS[1:, :2], 400, 2)[:, 0] + 3]
    )
    want = torch.stack([other[0].roll(1), other[1].roll(1)]).t()
    assert compare_draws(other.t(), want, inputs).status is Status.PASSED


def test_one_call_is_judged_by_its_support() -> None:
    assert outside_verdict(torch.tensor([0, 4]), {"probs": PROBS}).status is Status.PASSED
    verdict = outside_verdict(torch.tensor([4, 4]), {"probs": PROBS})
    assert verdict.status is Status.INCORRECT_NUMERICAL and "1 of 2 draws" in verdict.message


def _pooled(sampler: Callable[[torch.Tensor, int], torch.Tensor], calls: int) -> torch.Tensor:
    """Places of calls with contents of their own."""
    found = []
    for call in range(calls):
        rng = torch.Generator().manual_seed(call)
        probs = torch.softmax(2 * torch.randn(2, 50, generator=rng), dim=-1)
        inputs = {"probs": probs, "top_k": torch.tensor([20, 50])}
        mass, tokens = filtered(inputs)
        drawn = tokens.gather(1, sampler(mass, call))[:, 0]
        found.append(decided_places(drawn, inputs, call))
    return torch.cat(found)


def test_calls_with_contents_of_their_own_are_judged_together() -> None:
    def right(mass: torch.Tensor, call: int) -> torch.Tensor:
        return torch.multinomial(mass, 1, generator=torch.Generator().manual_seed(1000 + call))

    def likeliest(mass: torch.Tensor, call: int) -> torch.Tensor:
        return torch.zeros(len(mass), 1, dtype=torch.int64)

    assert compare_pooled(_pooled(right, 500)).status is Status.PASSED
    assert compare_pooled(_pooled(likeliest, 5)).status is Status.PASSED  # too few to say
    for calls in (15, 500):
        found = compare_pooled(_pooled(likeliest, calls))
        assert found.status is Status.INCORRECT_NUMERICAL
        assert "over all calls" in found.message


def test_what_has_no_probabilities_has_no_places() -> None:
    assert not len(decided_places(torch.tensor([1, 2]), {"logits": torch.ones(2, 3)}, 0))
