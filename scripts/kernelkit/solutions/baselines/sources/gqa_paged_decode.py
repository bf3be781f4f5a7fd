"""GQA decode over a paged KV cache by FlashInfer's BatchDecodeWithPagedKVCacheWrapper.

Its log-sum-exp is in base 2, as the definition's. plan() is called by `setup`.
"""

from typing import Any

import torch
from flashinfer.decode import BatchDecodeWithPagedKVCacheWrapper

from .plans import Planner, Tables, blind_requests, kv_lengths, nothing, settled

NUM_QO_HEADS = 32
NUM_KV_HEADS = 8
HEAD_DIM = 128
PAGE_SIZE = 1
TENSOR_CORE_GROUP = 4  # from so many query heads for each KV head on, tensor cores are faster


def make(workspace: torch.Tensor) -> Any:
    """The wrapper; caches are [pages, page_size, kv heads, head_dim] (NHD)."""
    group = NUM_QO_HEADS // NUM_KV_HEADS
    return BatchDecodeWithPagedKVCacheWrapper(
        workspace, "NHD", use_tensor_cores=group >= TENSOR_CORE_GROUP
    )


def plan(wrapper: Any, tables: Tables, sm_scale: float) -> torch.Tensor | None:
    """Plan for kv_indptr, kv_indices and, where pages hold more than a token, kv_last_page_len."""
    kv_indptr, kv_indices, *last_page_len = tables
    lengths, last = kv_lengths(kv_indptr, *(last_page_len or [None]), PAGE_SIZE)
    wrapper.plan(
        kv_indptr,
        kv_indices,
        last,
        NUM_QO_HEADS,
        NUM_KV_HEADS,
        HEAD_DIM,
        PAGE_SIZE,
        q_data_type=torch.bfloat16,
        kv_data_type=torch.bfloat16,
        sm_scale=sm_scale,
    )
    return blind_requests(lengths)


PLANNER = Planner(make, plan)


def prepare(
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
    kv_last_page_len: torch.Tensor | None = None,
) -> None:
    """Plan, outside the timed part."""
    if kv_indices.shape[0]:
        last_page_len = () if kv_last_page_len is None else (kv_last_page_len,)
        PLANNER.announce(kv_indptr, kv_indices, *last_page_len, sm_scale=sm_scale)


def compute(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
    kv_last_page_len: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [b, heads, d] -> output like q, lse [b, heads] float32."""
    if not kv_indices.shape[0]:
        return nothing(q, HEAD_DIM)
    last_page_len = () if kv_last_page_len is None else (kv_last_page_len,)
    with torch.cuda.device_of(q):
        held = PLANNER.ready(kv_indptr, kv_indices, *last_page_len, sm_scale=sm_scale)
        output, lse = held.wrapper.run(q, (k_cache, v_cache), return_lse=True)
        return settled(output, lse, held.blind)
