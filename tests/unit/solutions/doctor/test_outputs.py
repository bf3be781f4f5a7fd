"""Claims on outputs alone: what got is, made from the reference's output."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from planted_solutions import DEFINITIONS

from kernelkit.ops.base import Tolerance
from kernelkit.solutions.doctor import outputs
from kernelkit.solutions.doctor.matching import Observation, fit

torch = pytest.importorskip("torch")

TIGHT = Tolerance(atol=1e-5, rtol=1e-5)
DECODE = DEFINITIONS["gqa_decode_ps1"]()
STATEFUL = DEFINITIONS["gdn_decode"]()
WANT = torch.randn(6, 4, 16, generator=torch.Generator().manual_seed(3))
LSE = WANT[..., 0] + 5.0


def _causes(
    name: str, want: torch.Tensor, change: Callable, definition: object = DECODE
) -> list[str]:
    """The causes of claims that explain what `change` makes of the reference."""
    seen = [Observation("small", name, change(want), want, TIGHT, True)]
    found = outputs.claims(definition, seen, {"small": {}})
    return [claim.cause for claim in found if fit(seen, claim.hypotheses(seen)).explains()]


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        ("all-zeros", torch.zeros_like),
        ("all-nan", lambda x: x * math.nan),
        ("sign-flipped", lambda x: -x),
        ("constant-factor", lambda x: x * 0.25),
        ("constant-offset", lambda x: x + 3.0),
        ("heads-reversed", lambda x: x.flip(1)),
        ("heads-shifted", lambda x: x.roll(1, 1)),
        ("heads-interleaved", lambda x: x[:, [0, 2, 1, 3]]),
        ("heads-permuted", lambda x: x[:, [0, 3, 1, 2]]),
        ("one-head-for-all", lambda x: x[:, :1].expand_as(x)),
        ("rows-shifted", lambda x: x.roll(-1, 0)),
        ("one-row-for-all", lambda x: x[:1].expand_as(x)),
        ("output-layout-permuted", lambda x: x.transpose(0, 1).contiguous().view(x.shape)),
        ("rounded-to-float8_e4m3fn", lambda x: x.to(torch.float8_e4m3fn).to(x.dtype)),
        ("output-clamped", lambda x: x.clamp(-0.5, 0.5)),
        ("output-clamped", lambda x: x.relu()),
        ("output-without-signs", lambda x: x.abs()),
    ],
)
def test_what_became_of_the_output(cause: str, change: Callable) -> None:
    assert cause in _causes("output", WANT, change)


def test_the_factor_of_a_log_sum_exp_tells_its_base() -> None:
    assert "lse-base-e" in _causes("lse", LSE, lambda x: x * math.log(2))
    assert "lse-base2-twice" in _causes("lse", LSE, lambda x: x / math.log(2))
    assert "lse-base-e" not in _causes("output", WANT, lambda x: x * math.log(2))


def test_a_factor_is_named_by_the_definitions_sizes() -> None:
    seen = [Observation("small", "output", WANT * 0.25, WANT, TIGHT, True)]
    found = {c.cause: c for c in outputs.claims(DECODE, seen, {"small": {}})}
    assert "1 / sqrt(head_dim)" in found["constant-factor"].meaning


def test_a_transposed_state() -> None:
    state = torch.randn(2, 4, 16, 16)
    assert "state-transposed" in _causes("new_state", state, lambda x: x.mT, STATEFUL)


def test_an_output_that_is_an_input() -> None:
    seen = [Observation("small", "output", WANT * 0 + 1, WANT, TIGHT, True)]
    found = outputs.claims(DECODE, seen, {"small": {"q": WANT * 0 + 1}})
    claim = next(claim for claim in found if claim.cause == "output-is-input")
    assert fit(seen, claim.hypotheses(seen)).explains()
    assert "input q" in claim.meaning


def test_other_data_is_explained_by_nothing() -> None:
    assert _causes("output", WANT, torch.randn_like) == []
