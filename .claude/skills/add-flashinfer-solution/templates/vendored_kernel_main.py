"""MLA decode over a paged latent cache with one token a page: a Triton kernel that travels along.

The kernel is an extra source file, imported relatively: that works wherever the solution is
unpacked, under whatever package name. No `from __future__ import annotations` here: some tools
read the return annotation of `run` as an object, to count its outputs.

Keys are [ckv, kpe] of a token, values are ckv; q_nope is absorbed. bfloat16 in, float32 softmax,
log-sum-exp in base 2, 0 and -inf for a request without tokens.
"""

import torch

from .kernels.mla_decode import mla_decode

HEAD_DIM_CKV = 512
HEAD_DIM_KPE = 64


@torch.no_grad()
def run(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q_nope [b, h, ckv], q_pe [b, h, kpe], caches [n, 1, dim] -> output like q_nope, lse [b, h].

    A page of one token: its id is the token's id, and the page dimension falls away in a view.
    """
    ckv, kpe = ckv_cache.view(-1, HEAD_DIM_CKV), kpe_cache.view(-1, HEAD_DIM_KPE)
    return mla_decode(q_nope, q_pe, ckv, kpe, kv_indptr, kv_indices, sm_scale)
