"""Stand-ins for FlashInfer's attention wrappers: tables go in by plan(), run() uses them; rows that
see no key hold rubbish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

RUBBISH = 7.0


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """One request: q [n, h, d], k [m, kv, d], v [m, kv, e] -> [n, h, e], base-2 lse [n, h]; rows
    that see nothing are rubbish."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.float().repeat_interleave(group, dim=1) for x in (k, v))
    scores = torch.einsum("nhd,mhd->hnm", q.float(), k) * scale
    if causal:
        n, m = scores.shape[1:]
        hidden = torch.ones(n, m, dtype=torch.bool).triu(m - n + 1)
        scores = scores.masked_fill(hidden, -torch.inf)
    output = torch.einsum("hnm,mhe->nhe", scores.softmax(dim=-1), v)
    lse = scores.logsumexp(dim=-1).T * 1.4426950408889634
    blind = lse.isneginf()
    output = output.masked_fill(blind[..., None], RUBBISH).to(q.dtype)
    return output, lse.masked_fill(blind, RUBBISH)


def requests(
    q: torch.Tensor, qo: torch.Tensor, keys: Callable[[int], tuple[torch.Tensor, torch.Tensor]],
    scale: float, causal: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """All requests of a batch: `keys` gives one's keys and values."""
    parts = []
    for i in range(len(qo) - 1):
        k, v = keys(i)
        parts.append(attention(q[qo[i] : qo[i + 1]], k, v, scale, causal))
    outputs, lses = zip(*parts, strict=True)
    return torch.cat(outputs), torch.cat(lses)


def tokens_of(
    cache: torch.Tensor, indptr: torch.Tensor, indices: torch.Tensor, length: int, i: int
) -> torch.Tensor:
    """The tokens of request i: cache [pages, size, ...] -> [length, ...]."""
    pages = indices[indptr[i] : indptr[i + 1]].long()
    return cache[pages].flatten(0, 1)[:length]


class Decode:
    """BatchDecodeWithPagedKVCacheWrapper."""

    def __init__(self, workspace: torch.Tensor, layout: str, use_tensor_cores: bool) -> None:
        assert layout == "NHD" and workspace.dtype is torch.uint8 and not workspace.any()

    def plan(self, indptr: torch.Tensor, indices: torch.Tensor, last: torch.Tensor, heads: int,
             kv_heads: int, dim: int, page_size: int, *, q_data_type: Any, kv_data_type: Any,
             sm_scale: float) -> None:  # fmt: skip
        assert q_data_type is kv_data_type is torch.bfloat16 and last.dtype is torch.int32
        self.shape, self.scale = (heads, kv_heads, dim, page_size), sm_scale
        self.tables = indptr, indices
        self.lengths = ((torch.diff(indptr) - 1).clamp(min=0) * page_size + last).tolist()

    def run(self, q: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor], *, return_lse: bool
            ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert return_lse and (*q.shape[1:], cache[0].shape[1]) == (
            self.shape[0], self.shape[2], self.shape[3],
        )  # fmt: skip

        def keys(i: int) -> tuple[torch.Tensor, ...]:
            return tuple(tokens_of(c, *self.tables, self.lengths[i], i) for c in cache)

        return requests(q, torch.arange(len(q) + 1), keys, self.scale, False)


class Prefill(Decode):
    """BatchPrefillWithPagedKVCacheWrapper."""

    def __init__(self, workspace: torch.Tensor, layout: str) -> None:
        super().__init__(workspace, layout, True)

    def plan(self, qo_indptr: torch.Tensor, *args: Any, causal: bool, **options: Any) -> None:
        super().plan(*args, **options)
        self.qo, self.causal = qo_indptr, causal

    def run(self, q: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor], *, return_lse: bool
            ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert return_lse

        def keys(i: int) -> tuple[torch.Tensor, ...]:
            return tuple(tokens_of(c, *self.tables, self.lengths[i], i) for c in cache)

        return requests(q, self.qo, keys, self.scale, self.causal)


class Ragged:
    """BatchPrefillWithRaggedKVCacheWrapper."""

    def __init__(self, workspace: torch.Tensor, layout: str) -> None:
        assert layout == "NHD" and workspace.dtype is torch.uint8

    def plan(self, qo: torch.Tensor, kv: torch.Tensor, heads: int, kv_heads: int, dim_qk: int, *,
             head_dim_vo: int, causal: bool, sm_scale: float, q_data_type: Any, kv_data_type: Any
             ) -> None:  # fmt: skip
        self.shapes = (heads, dim_qk), (kv_heads, dim_qk), (kv_heads, head_dim_vo)
        self.qo, self.kv, self.causal, self.scale = qo, kv, causal, sm_scale

    def run(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, return_lse: bool
            ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert return_lse and tuple(tuple(x.shape[1:]) for x in (q, k, v)) == self.shapes

        def keys(i: int) -> tuple[torch.Tensor, torch.Tensor]:
            return k[self.kv[i] : self.kv[i + 1]], v[self.kv[i] : self.kv[i + 1]]

        return requests(q, self.qo, keys, self.scale, self.causal)


class Mla:
    """BatchMLAPagedAttentionWrapper."""

    def __init__(self, workspace: torch.Tensor) -> None:
        assert workspace.dtype is torch.uint8

    def plan(self, qo: torch.Tensor, kv: torch.Tensor, indices: torch.Tensor, lengths: torch.Tensor,
             *, num_heads: int, head_dim_ckv: int, head_dim_kpe: int, page_size: int, causal: bool,
             sm_scale: float, q_data_type: Any, kv_data_type: Any) -> None:  # fmt: skip
        assert all(t.dtype is torch.int32 for t in (qo, kv, indices, lengths))
        self.shape = (num_heads, head_dim_ckv, head_dim_kpe, page_size)
        self.qo, self.tables, self.lengths = qo, (kv, indices), lengths.tolist()
        self.causal, self.scale = causal, sm_scale

    def run(self, q_nope: torch.Tensor, q_pe: torch.Tensor, ckv: torch.Tensor, kpe: torch.Tensor,
            *, return_lse: bool) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert (*q_nope.shape[1:], q_pe.shape[2], ckv.shape[1]) == self.shape and return_lse

        def keys(i: int) -> tuple[torch.Tensor, torch.Tensor]:
            c, p = (tokens_of(x, *self.tables, self.lengths[i], i) for x in (ckv, kpe))
            return torch.cat([c, p], dim=-1)[:, None], c[:, None]

        return requests(torch.cat([q_nope, q_pe], -1), self.qo, keys, self.scale, self.causal)
