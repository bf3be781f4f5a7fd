"""The distributions of right and mistaken samplers, against counts by hand."""

from __future__ import annotations

import math

import pytest
from planted_solutions import DEFINITIONS

from kernelkit.solutions.doctor import draws
from kernelkit.solutions.doctor.families import sampling

torch = pytest.importorskip("torch")

PROBS = torch.tensor([[0.1, 0.4, 0.2, 0.3]])


def _mass(name: str, inputs: dict, **knobs: str) -> list[float]:
    found = sampling.run(DEFINITIONS[name](), {"probs": PROBS, **inputs}, **knobs)["samples"]
    return [round(float(value), 4) for value in found[0]]


def test_top_k_keeps_the_likeliest() -> None:
    k = {"top_k": torch.tensor([2])}
    assert _mass("sampling_top_k", k) == [0.0, 0.5714, 0.0, 0.4286]
    assert _mass("sampling_top_k", k, top_k="more") == [0.0, 0.4444, 0.2222, 0.3333]
    assert _mass("sampling_top_k", k, top_k="none") == [0.1, 0.4, 0.2, 0.3]
    assert _mass("sampling_top_k", k, ids="ranks") == [0.5714, 0.4286, 0.0, 0.0]


def test_top_p_keeps_the_token_that_crosses() -> None:
    p = {"top_p": torch.tensor([0.5])}
    assert _mass("sampling_top_p", p) == [0.0, 0.5714, 0.0, 0.4286]
    assert _mass("sampling_top_p", p, top_p="without-crossing") == [0.0, 1.0, 0.0, 0.0]
    assert _mass("sampling_top_p", p, top_p="one-more") == [0.0, 0.4444, 0.2222, 0.3333]


def test_top_p_counts_the_mass_that_top_k_leaves() -> None:
    both = {"top_k": torch.tensor([2]), "top_p": torch.tensor([0.5])}
    assert _mass("sampling_top_k_top_p", both) == [0.0, 1.0, 0.0, 0.0]
    assert _mass("sampling_top_k_top_p", both, order="p-first") == [0.0, 0.5714, 0.0, 0.4286]


def test_deviation_sees_another_distribution_and_forbidden_tokens() -> None:
    rng = torch.Generator().manual_seed(1)
    drawn = torch.multinomial(PROBS, 4000, replacement=True, generator=rng).T
    assert draws.deviation(drawn, PROBS.double()) < 3.5
    even = torch.full_like(PROBS, 0.25).double()
    assert draws.deviation(drawn, even) > 10
    assert draws.deviation(drawn, torch.tensor([[0.0, 0.5, 0.2, 0.3]]).double()) == math.inf
    assert draws.deviation(torch.tensor([[4]]), PROBS.double()) == math.inf
