"""Plans in `setup` from the page table that it is given; `run` works without it too."""

from __future__ import annotations

import torch

from .paged import attend

_plan: list[torch.Tensor] = []


def setup(
    kv_indptr: torch.Tensor, kv_indices: torch.Tensor, kv_last_page_len: torch.Tensor
) -> None:
    _plan[:] = [table.clone() for table in (kv_indptr, kv_indices, kv_last_page_len)]


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    tables = _plan or [kv_indptr, kv_indices, kv_last_page_len]
    return attend(q, k_cache, v_cache, *tables, sm_scale)
