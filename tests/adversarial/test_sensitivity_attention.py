"""Grouped attention: every wrong kernel is refused at every size, every right one passes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from mutants.attention import (  # noqa: E402
    EMPTY_FLAWS,
    LATENT,
    LONG_FLAWS,
    Attention,
    Planned,
    Prescaled,
    Sdpa,
    flaws,
    kinds,
)
from mutants.trials import assert_passes, refused, verdicts  # noqa: E402

KINDS = {name: case for name, case in kinds().items() if not name.startswith(LATENT)}
SIZES = ("small", "large")


def _case(kind: str, size: str) -> tuple[Any, dict[str, int]]:
    definition, small, large = KINDS[kind]
    return definition, small if size == "small" else large


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_kernels_are_refused(kind: str, size: str) -> None:
    definition, axes = _case(kind, size)
    missed = [
        name
        for name, fields in (flaws(definition) | (LONG_FLAWS if size == "large" else {})).items()
        if not refused(definition, axes, Attention(definition, **fields))
    ]
    assert not missed


@pytest.mark.parametrize("kind", KINDS)
def test_requests_without_keys(kind: str) -> None:
    definition, axes = _case(kind, "small")
    missed = [
        name
        for name, fields in EMPTY_FLAWS.items()
        if not refused(definition, axes, Attention(definition, **fields))
    ]
    assert not missed


@pytest.mark.parametrize("kind", KINDS)
def test_plans_kept_by_shape_are_refused(kind: str) -> None:
    definition, axes = _case(kind, "small")
    names = [name for name in ("qo_indptr", "kv_indptr", "kv_indices", "kv_last_page_len")
             if name in definition.inputs]  # fmt: skip
    missed = [name for name in names if not refused(definition, axes, Planned(definition, name))]
    assert not missed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [Attention, Prescaled, Sdpa])
@pytest.mark.parametrize("kind", KINDS)
def test_right_kernels_pass(kind: str, make: type[Attention], size: str) -> None:
    definition, axes = _case(kind, size)
    assert_passes(definition, axes, make(definition, weights=torch.bfloat16))


@pytest.mark.parametrize("kind", ["gqa_decode_ps1", "gqa_ragged"])
def test_random_inputs_alone_would_not_do(kind: str) -> None:
    """One token of 16k, the last one, is below what random values show."""
    definition, axes = _case(kind, "large")
    kernel = Attention(definition, dropped=lambda n: n - 1)
    found = [what for what, v in verdicts(definition, axes, kernel) if v.status.value != "PASSED"]
    assert "coverage" in found and "random" not in found
