"""Causal prefill over ragged keys by FlashInfer's BatchPrefillWithRaggedKVCacheWrapper.

Keys and values may differ in their dimensions (MLA's 192 and 128). Its mask is bottom-right and its
log-sum-exp in base 2, as the definition's. plan() is called by `setup`.
"""

from typing import Any

import torch
from flashinfer.prefill import BatchPrefillWithRaggedKVCacheWrapper

from .plans import Planner, Tables, blind_rows, nothing, settled

NUM_QO_HEADS = 32
NUM_KV_HEADS = 8
HEAD_DIM_QK = 128
HEAD_DIM_VO = 128


def make(workspace: torch.Tensor) -> Any:
    """The wrapper; keys and values are [tokens, kv heads, dim] (NHD)."""
    return BatchPrefillWithRaggedKVCacheWrapper(workspace, "NHD")


def plan(wrapper: Any, tables: Tables, sm_scale: float) -> torch.Tensor | None:
    """Plan for qo_indptr and kv_indptr."""
    qo_indptr, kv_indptr = tables
    wrapper.plan(
        qo_indptr,
        kv_indptr,
        NUM_QO_HEADS,
        NUM_KV_HEADS,
        HEAD_DIM_QK,
        head_dim_vo=HEAD_DIM_VO,
        causal=True,
        sm_scale=sm_scale,
        q_data_type=torch.bfloat16,
        kv_data_type=torch.bfloat16,
    )
    return blind_rows(qo_indptr, torch.diff(kv_indptr))


PLANNER = Planner(make, plan)


def prepare(qo_indptr: torch.Tensor, kv_indptr: torch.Tensor, sm_scale: float) -> None:
    """Plan, outside the timed part."""
    PLANNER.announce(qo_indptr, kv_indptr, sm_scale=sm_scale)


def compute(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [rows, heads, qk], k [tokens, kv heads, qk], v [tokens, kv heads, vo] -> output
    [rows, heads, vo], lse [rows, heads] float32."""
    if not k.shape[0] or not q.shape[0]:
        return nothing(q, HEAD_DIM_VO)
    with torch.cuda.device_of(q):
        held = PLANNER.ready(qo_indptr, kv_indptr, sm_scale=sm_scale)
        output, lse = held.wrapper.run(q, k, v, return_lse=True)
        return settled(output, lse, held.blind)
