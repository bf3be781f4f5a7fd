"""MLA decode or causal prefill over a paged latent cache by FlashInfer's
BatchMLAPagedAttentionWrapper.

q_nope is absorbed, keys are [ckv, kpe], values are ckv. Decode is one query row a request. Its
log-sum-exp is in base 2, as the definition's. plan() is called by `setup`.
"""

from typing import Any

import torch
from flashinfer.mla import BatchMLAPagedAttentionWrapper

from .plans import Planner, Tables, blind_rows, kv_lengths, nothing, settled

NUM_QO_HEADS = 16
HEAD_DIM_CKV = 512
HEAD_DIM_KPE = 64
PAGE_SIZE = 1
DECODE = True  # one query row a request, and no qo_indptr


def make(workspace: torch.Tensor) -> Any:
    """The wrapper; it chooses its kernel by the device."""
    return BatchMLAPagedAttentionWrapper(workspace)


def plan(wrapper: Any, tables: Tables, sm_scale: float) -> torch.Tensor | None:
    """Plan for the tables in the order of `tables_of`."""
    kv_indptr, kv_indices, *more = tables
    steps = torch.arange(kv_indptr.shape[0], dtype=torch.int32, device=kv_indptr.device)
    qo_indptr = steps if DECODE else more.pop(0)
    lengths, _ = kv_lengths(kv_indptr, *(more or [None]), PAGE_SIZE)
    wrapper.plan(
        qo_indptr,
        kv_indptr,
        kv_indices,
        lengths,
        num_heads=NUM_QO_HEADS,
        head_dim_ckv=HEAD_DIM_CKV,
        head_dim_kpe=HEAD_DIM_KPE,
        page_size=PAGE_SIZE,
        causal=not DECODE,  # one query row sees every key
        sm_scale=sm_scale,
        q_data_type=torch.bfloat16,
        kv_data_type=torch.bfloat16,
    )
    return blind_rows(qo_indptr, lengths)


PLANNER = Planner(make, plan)


def tables_of(
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    qo_indptr: torch.Tensor | None,
    kv_last_page_len: torch.Tensor | None,
) -> Tables:
    """What plan() reads: prefill has a qo_indptr, pages of more than a token a last length."""
    optional = (qo_indptr, kv_last_page_len)
    return (kv_indptr, kv_indices, *(table for table in optional if table is not None))


def prepare(
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
    kv_last_page_len: torch.Tensor | None = None,
    qo_indptr: torch.Tensor | None = None,
) -> None:
    """Plan, outside the timed part."""
    if kv_indices.shape[0]:
        tables = tables_of(kv_indptr, kv_indices, qo_indptr, kv_last_page_len)
        PLANNER.announce(*tables, sm_scale=sm_scale)


def compute(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
    kv_last_page_len: torch.Tensor | None = None,
    qo_indptr: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q_nope [rows, heads, ckv], q_pe [rows, heads, kpe] -> output like q_nope, lse [rows, heads]
    float32."""
    if not kv_indices.shape[0] or not q_nope.shape[0]:
        return nothing(q_nope, HEAD_DIM_CKV)
    with torch.cuda.device_of(q_nope):
        tables = tables_of(kv_indptr, kv_indices, qo_indptr, kv_last_page_len)
        held = PLANNER.ready(*tables, sm_scale=sm_scale)
        output, lse = held.wrapper.run(q_nope, q_pe, ckv_cache, kpe_cache, return_lse=True)
        return settled(output, lse, held.blind)
