"""Random draws: a right sampler passes, a biased or lawless one does not."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.draws import LIMIT, compare_draws, deviation, outside_support  # noqa: E402
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
