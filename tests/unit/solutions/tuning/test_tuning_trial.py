"""A variant is judged by the evaluator's rules: of an indexer's indices the set counts."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from kernelkit.ops import family  # noqa: E402
from kernelkit.solutions.tuning import trial  # noqa: E402

INDEXER = family("dsa_paged").indexer(4, 32, 8)
AXES = {"batch_size": 2, "max_num_pages": 2, "num_pages": 5}


def test_indices_in_another_order_are_right() -> None:
    inputs = trial.inputs_of(INDEXER, AXES, "cpu")
    want = trial.expected(INDEXER, inputs)
    found = want["topk_indices"]
    assert trial.fault(INDEXER, lambda *_: found.flip(1), inputs, want) == ""


def test_other_indices_are_not() -> None:
    inputs = trial.inputs_of(INDEXER, AXES, "cpu")
    want = trial.expected(INDEXER, inputs)
    twice = want["topk_indices"][:, :1].expand(-1, 8).contiguous()
    assert "occurs twice" in trial.fault(INDEXER, lambda *_: twice, inputs, want)
