"""Keeps a plan by the contents of the page table: looks at the table at every call."""

from __future__ import annotations

import torch

from .paged import attend

_plans: dict[tuple[int, ...], list[torch.Tensor]] = {}


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    tables = (kv_indptr, kv_indices, kv_last_page_len)
    key = tuple(number for table in tables for number in table.tolist())
    if key not in _plans:
        _plans[key] = [table.clone() for table in tables]
    return attend(q, k_cache, v_cache, *_plans[key], sm_scale)
