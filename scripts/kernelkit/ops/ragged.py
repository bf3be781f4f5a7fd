"""What the two ragged prefill families share: contiguous keys and values, no page table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.errors import UsageError
from kernelkit.ops import base, paged
from kernelkit.ops.base import Axes, Cost, Inputs

if TYPE_CHECKING:
    import torch

API = "flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper"
CONSTRAINTS = ["total_q == qo_indptr[-1].item()", "total_kv == kv_indptr[-1].item()"]
TOTAL_Q = base.var("Query tokens of all requests.")
TOTAL_KV = base.var("Key tokens of all requests.")
LEN_INDPTR = base.var("Number of requests + 1.")


def tables(definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
    """qo_indptr and kv_indptr with kv_len >= q_len for each request. Raises UsageError."""
    requests = axes["len_indptr"] - 1
    if requests < 0 or axes["total_kv"] < axes["total_q"]:
        raise UsageError(
            f"{definition.name}: no causal lengths with these axes",
            received=dict(axes),
            allowed="len_indptr >= 1 and total_kv >= total_q",
        )
    q_lens = paged.split(axes["total_q"], requests, rng)
    history = paged.split(axes["total_kv"] - axes["total_q"], requests, rng)
    return {"qo_indptr": paged.indptr(q_lens), "kv_indptr": paged.indptr(q_lens + history)}


def cost(definition: Definition, axes: Axes, inputs: Inputs | None, pair_flops: float) -> Cost:
    """Every tensor once; `pair_flops` for each visible query-key pair."""
    if inputs is not None:
        q_lens, kv_lens = paged.lengths(inputs, 1)
    else:
        requests = axes["len_indptr"] - 1
        q_lens = paged.even(axes["total_q"], requests)
        kv_lens = paged.even(axes["total_kv"], requests)
    pairs = paged.visible_pairs(q_lens or [], kv_lens)
    return Cost(base.all_bytes(definition, axes), pairs * pair_flops)
