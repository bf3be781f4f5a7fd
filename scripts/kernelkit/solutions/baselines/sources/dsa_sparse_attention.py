"""Sparse MLA attention by FlashInfer's BatchMLAPagedAttentionWrapper, over pages of one token.

The API that FlashInfer names for it (trtllm_batch_decode_with_kv_cache_mla) needs sm_100. Here each
query token is a request whose keys are the tokens that its row of sparse_indices names: an index is
a token's place in the cache, so the cache is seen as pages of one token. -1 is padding. The lists
are made by `setup`; log-sum-exp in base 2.
"""

from typing import Any

import torch
from flashinfer.mla import BatchMLAPagedAttentionWrapper

from .plans import Planner, Tables, blind_requests, nothing, settled

NUM_QO_HEADS = 16
HEAD_DIM_CKV = 512
HEAD_DIM_KPE = 64


def make(workspace: torch.Tensor) -> Any:
    """The wrapper; it chooses its kernel by the device."""
    return BatchMLAPagedAttentionWrapper(workspace)


def plan(wrapper: Any, tables: Tables, sm_scale: float) -> torch.Tensor | None:
    """Plan for sparse_indices [tokens, topk]."""
    (sparse_indices,) = tables
    valid = sparse_indices >= 0
    lengths = valid.sum(dim=1, dtype=torch.int32)
    indptr = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    rows = torch.arange(indptr.shape[0], dtype=torch.int32, device=indptr.device)
    wrapper.plan(
        rows,
        indptr,
        sparse_indices[valid],
        lengths,
        num_heads=NUM_QO_HEADS,
        head_dim_ckv=HEAD_DIM_CKV,
        head_dim_kpe=HEAD_DIM_KPE,
        page_size=1,
        causal=False,
        sm_scale=sm_scale,
        q_data_type=torch.bfloat16,
        kv_data_type=torch.bfloat16,
    )
    return blind_requests(lengths)


PLANNER = Planner(make, plan)


def prepare(sparse_indices: torch.Tensor, sm_scale: float) -> None:
    """Make the lists of tokens and plan, outside the timed part."""
    if sparse_indices.numel():
        PLANNER.announce(sparse_indices, sm_scale=sm_scale)


def compute(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    sparse_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q_nope [tokens, heads, ckv], q_pe [tokens, heads, kpe] -> output like q_nope, lse [tokens,
    heads] float32."""
    if not sparse_indices.numel():
        return nothing(q_nope, HEAD_DIM_CKV)
    ckv = ckv_cache.flatten(0, 1).unsqueeze(1)
    kpe = kpe_cache.flatten(0, 1).unsqueeze(1)
    with torch.cuda.device_of(q_nope):
        held = PLANNER.ready(sparse_indices, sm_scale=sm_scale)
        output, lse = held.wrapper.run(q_nope, q_pe, ckv, kpe, return_lse=True)
        return settled(output, lse, held.blind)
