"""Costs of the attention families by hand: latent, ragged, sparse and the indexer's."""

from __future__ import annotations

from typing import Any

import pytest

from kernelkit.ops import family


def test_latent_decode_cost_by_hand() -> None:
    """Two heads, latent 8, rope 4; requests of 3 and 2 tokens in pages of 4."""
    torch = pytest.importorskip("torch")
    op: Any = family("mla_paged")
    definition = op.definition(2, 8, 4, 4, prefill=False)
    axes = {"batch_size": 2, "len_indptr": 3, "num_kv_indices": 2, "num_pages": 99}
    inputs = {
        "kv_indptr": torch.tensor([0, 1, 2]),
        "kv_last_page_len": torch.tensor([3, 2]),
    }
    cost = op.cost(definition, axes, inputs)
    queries, outputs = 2 * 2 * (8 + 4) * 2, 2 * 2 * 8 * 2 + 2 * 2 * 4
    tables = (3 + 2 + 2) * 4
    assert cost.bytes_moved == queries + outputs + tables + 5 * (8 + 4) * 2
    assert cost.flops == 5 * 2 * (2 * (8 + 4) + 2 * 8)
    assert op.cost(definition, axes).flops == 8 * 2 * (2 * (8 + 4) + 2 * 8)  # as if pages were full


def test_ragged_latent_cost_counts_both_dims() -> None:
    """Two queries after one key see 2 + 3 keys."""
    op: Any = family("mla_ragged")
    definition = op.definition(2, 6, 4)
    cost = op.cost(definition, {"len_indptr": 2, "total_q": 2, "total_kv": 3})
    assert cost.flops == 5 * 2 * (2 * 6 + 2 * 4)
    tensors = 2 * 2 * 6 + 3 * 2 * 6 + 3 * 2 * 4 + 2 * 2 * 4
    assert cost.bytes_moved == tensors * 2 + 2 * 2 * 4 + 2 * 2 * 4


def test_sparse_cost_counts_no_padding() -> None:
    """Five of eight slots are named; axes alone count all eight."""
    torch = pytest.importorskip("torch")
    op: Any = family("dsa_paged")
    definition = op.sparse(2, 8, 4, 4, 64)
    axes = {"num_tokens": 2, "num_pages": 50}
    indices = torch.tensor([[7, 9, -1, -1], [1, 2, 3, -1]])
    per_slot = 2 * (2 * (8 + 4) + 2 * 8)
    assert op.cost(definition, axes, {"sparse_indices": indices}).flops == 5 * per_slot
    full = op.cost(definition, axes)
    assert full.flops == 8 * per_slot
    rest = 2 * 2 * (8 + 4) * 2 + 2 * 4 * 4 + 2 * 2 * 8 * 2 + 2 * 2 * 4
    assert full.bytes_moved == rest + 8 * (8 + 4) * 2


def test_indexer_cost_follows_the_lengths() -> None:
    """70 cached tokens of 128 key bytes and a float32 scale."""
    torch = pytest.importorskip("torch")
    op: Any = family("dsa_paged")
    definition = op.indexer(4, 128, 64)
    axes = {"batch_size": 1, "num_pages": 9, "max_num_pages": 2}
    cost = op.cost(definition, axes, {"seq_lens": torch.tensor([70])})
    assert cost.flops == 70 * 2 * 4 * 128
    assert cost.bytes_moved == 4 * 128 + 4 * 4 + 4 + 2 * 4 + 64 * 4 + 70 * 132
