"""What the places and the sizes of errors say."""

from __future__ import annotations

import math

import pytest
from planted_solutions import DEFINITIONS

from kernelkit.ops.base import Tolerance
from kernelkit.solutions.doctor import places
from kernelkit.solutions.doctor.matching import Observation

torch = pytest.importorskip("torch")

TOLERANCE = Tolerance(atol=1e-3, rtol=1e-3)
DECODE = DEFINITIONS["gqa_decode_ps1"]()
GEMM = DEFINITIONS["gemm"]()


def _seen(got: torch.Tensor, want: torch.Tensor, name: str = "output") -> Observation:
    return Observation("small", name, got, want, TOLERANCE, True)


def test_errors_in_rows_of_one_kind_name_it() -> None:
    want = torch.randn(4, 4, 16)
    got = want.clone()
    got[2] = math.nan
    groups = {"small": {"requests without keys": torch.tensor([False, False, True, False])}}
    (finding,) = places.likely(DECODE, [_seen(got, want)], groups)
    assert finding.cause == "empty-request" and finding.certain
    assert any("64 of their elements are NaN" in text for text in finding.evidence)
    facts = places.facts(DECODE, [_seen(got, want)], groups)
    assert any("only 1 have errors in small: 2" in fact for fact in facts)
    assert any("64 NaN or infinite" in fact for fact in facts)


def test_a_kind_that_nearly_all_rows_have_is_not_to_blame() -> None:
    want = torch.randn(4, 4, 16)
    groups = {"small": {"requests with q_len < kv_len": torch.ones(4, dtype=torch.bool)}}
    found = places.likely(DECODE, [_seen(torch.randn(4, 4, 16), want)], groups)
    assert found == []


def test_suspects_are_likely_at_most() -> None:
    want = torch.randn(4, 4, 16)
    got = want.clone()
    got[1:] += torch.randn(3, 4, 16)
    groups = {"small": {"requests after the first": torch.tensor([False, True, True, True])}}
    (finding,) = places.likely(DECODE, [_seen(got, want)], groups)
    assert finding.cause == "first-request-only" and not finding.certain


def test_a_tail_is_one_tiles() -> None:
    want = torch.randn(5, 80)
    got = want.clone()
    got[:, 64:] = 0.0
    (finding,) = places.likely(GEMM, [_seen(got, want, "C")], {})
    assert finding.cause == "tail-not-computed" and "64 of N" in finding.meaning


def test_small_unbiased_errors_are_rounding() -> None:
    want = torch.randn(50, 80)
    got = want * (1 + 0.03 * torch.randn(50, 80))
    (finding,) = places.likely(GEMM, [_seen(got, want, "C")], {})
    assert finding.cause == "low-precision" and not finding.certain


def test_a_function_of_each_element() -> None:
    want = torch.randn(50, 80) * 3
    (finding,) = places.likely(GEMM, [_seen(torch.tanh(want), want, "C")], {})
    assert finding.cause == "elementwise-function"


def test_unrelated_numbers_suggest_nothing() -> None:
    torch.manual_seed(0)
    seen = _seen(torch.randn(50, 80), torch.randn(50, 80), "C")
    assert places.likely(GEMM, [seen], {}) == []
    assert places.facts(GEMM, [seen], {})
