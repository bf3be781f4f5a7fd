"""Causal GQA prefill over a paged KV cache by FlashInfer's BatchPrefillWithPagedKVCacheWrapper.

Its mask is bottom-right and its log-sum-exp in base 2, as the definition's. plan() is called by
`setup`.
"""

from typing import Any

import torch
from flashinfer.prefill import BatchPrefillWithPagedKVCacheWrapper

from .plans import Planner, Tables, blind_rows, kv_lengths, nothing, settled

NUM_QO_HEADS = 32
NUM_KV_HEADS = 8
HEAD_DIM = 128
PAGE_SIZE = 1


def make(workspace: torch.Tensor) -> Any:
    """The wrapper; caches are [pages, page_size, kv heads, head_dim] (NHD)."""
    return BatchPrefillWithPagedKVCacheWrapper(workspace, "NHD")


def plan(wrapper: Any, tables: Tables, sm_scale: float) -> torch.Tensor | None:
    """Plan for qo_indptr, kv_indptr, kv_indices and, where pages hold more than a token,
    kv_last_page_len."""
    qo_indptr, kv_indptr, kv_indices, *last_page_len = tables
    lengths, last = kv_lengths(kv_indptr, *(last_page_len or [None]), PAGE_SIZE)
    wrapper.plan(
        qo_indptr,
        kv_indptr,
        kv_indices,
        last,
        NUM_QO_HEADS,
        NUM_KV_HEADS,
        HEAD_DIM,
        PAGE_SIZE,
        causal=True,
        sm_scale=sm_scale,
        q_data_type=torch.bfloat16,
        kv_data_type=torch.bfloat16,
    )
    return blind_rows(qo_indptr, lengths)


PLANNER = Planner(make, plan)


def prepare(
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
    kv_last_page_len: torch.Tensor | None = None,
) -> None:
    """Plan, outside the timed part."""
    if kv_indices.shape[0]:
        last_page_len = () if kv_last_page_len is None else (kv_last_page_len,)
        PLANNER.announce(qo_indptr, kv_indptr, kv_indices, *last_page_len, sm_scale=sm_scale)


def compute(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
    kv_last_page_len: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [rows, heads, d] -> output like q, lse [rows, heads] float32."""
    if not kv_indices.shape[0] or not q.shape[0]:
        return nothing(q, HEAD_DIM)
    last_page_len = () if kv_last_page_len is None else (kv_last_page_len,)
    with torch.cuda.device_of(q):
        held = PLANNER.ready(qo_indptr, kv_indptr, kv_indices, *last_page_len, sm_scale=sm_scale)
        output, lse = held.wrapper.run(q, (k_cache, v_cache), return_lse=True)
        return settled(output, lse, held.blind)
