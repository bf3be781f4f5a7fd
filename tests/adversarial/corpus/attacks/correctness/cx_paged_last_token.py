"""Ignores the last token of each request."""

from __future__ import annotations

import torch

from .paged import attend


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    shorter = kv_last_page_len - 1
    return attend(q, k_cache, v_cache, kv_indptr, kv_indices, shorter, sm_scale)
