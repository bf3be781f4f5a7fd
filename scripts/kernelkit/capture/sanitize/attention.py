"""Attention calls: page tables from the plan, shapes from the run, each axis from both.

causal, sm_scale, the window and the soft cap may have been given to forward(), which FlashInfer
does not log: a recorder's attributes tell them, a level-10 dump makes them assumptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelkit.capture.sanitize import kv_pools, tables
from kernelkit.capture.sanitize.calls import (
    OTHER_SEMANTICS,
    Call,
    Unusable,
)
from kernelkit.capture.sanitize.observed import (
    Kept,
    Observed,
    Shaped,
    agree,
    number,
    plain,
    plan_of,
    rank,
    shaped,
    tensor,
)

if TYPE_CHECKING:
    import numpy


def decode(call: Call, strict: bool) -> Observed:
    """BatchDecodeWithPagedKVCacheWrapper: one query row a request."""
    plan = plan_of(call)
    heads, kv_heads, dim = (number(plan, n) for n in ("num_qo_heads", "num_kv_heads", "head_dim"))
    indptr = tables.offsets(tensor(plan, "indptr"), "indptr")
    requests = len(indptr) - 1
    q = _query(call, strict, heads, dim)
    if not call.from_plan:
        agree(strict, "requests", plan=requests, q=q.shape[0])
    q = Shaped((requests, *q.shape[1:]), q.dtype, None if call.from_plan else q.source)
    paged = _paged(call, strict, kv_heads, dim, indptr, "indices", "last_page_len")
    scale, assumed = kv_pools.softmax_scale(call, dim)
    return Observed({"q": q, **paged, "sm_scale": scale}, assumed=assumed, notes=_from_plan(call))


def paged_prefill(call: Call, strict: bool) -> Observed:
    """BatchPrefillWithPagedKVCacheWrapper."""
    plan = plan_of(call)
    names = ("num_qo_heads", "num_kv_heads", "head_dim_qk")
    heads, kv_heads, dim = (number(plan, n) for n in names)
    plain(plan, "head_dim_vo", allowed=(None, dim))
    qo_indptr = tables.offsets(tensor(plan, "qo_indptr"), "qo_indptr")
    indptr = tables.offsets(tensor(plan, "paged_kv_indptr"), "paged_kv_indptr")
    q = _query(call, strict, heads, dim)
    agree(strict, "query tokens", plan=int(qo_indptr[-1]), q=q.shape[0])
    agree(strict, "requests", qo_indptr=len(qo_indptr) - 1, kv_indptr=len(indptr) - 1)
    ids = "paged_kv_indices", "paged_kv_last_page_len"
    paged = _paged(call, strict, kv_heads, dim, indptr, *ids)
    scale, assumed = kv_pools.softmax_scale(call, dim)
    causal, more = kv_pools.causality(call)
    inputs = {"q": q, "qo_indptr": Kept(qo_indptr), **paged, "sm_scale": scale}
    return Observed(inputs, {"causal": causal}, assumed=assumed + more)


def ragged(call: Call, strict: bool) -> Observed:
    """BatchPrefillWithRaggedKVCacheWrapper: GQA, and MLA before absorption."""
    plan = plan_of(call)
    names = ("num_qo_heads", "num_kv_heads", "head_dim_qk")
    heads, kv_heads, dim = (number(plan, n) for n in names)
    value_dim = plan.arguments.get("head_dim_vo") or dim
    q, k, v = _query(call, strict, heads, dim), *(shaped(tensor(call, n)) for n in "kv")
    for name, keys, size in (("k", k, dim), ("v", v, value_dim)):
        rank(keys, 3, name)
        agree(strict, f"heads of {name}", tensor=keys.shape[1], plan=kv_heads)
        agree(strict, f"dim of {name}", tensor=keys.shape[2], plan=size)
    inputs: dict[str, Any] = {"q": q, "k": k, "v": v}
    for name, rows in (("qo_indptr", q.shape[0]), ("kv_indptr", k.shape[0])):
        indptr = tables.offsets(tensor(plan, name), name)
        agree(strict, f"rows of {name}", plan=int(indptr[-1]), tensor=rows)
        inputs[name] = Kept(indptr)
    kv_pools.check_plain(call, tables.longest(inputs["kv_indptr"].array))
    scale, assumed = kv_pools.softmax_scale(call, dim)
    causal, more = kv_pools.causality(call, serving=True)
    return Observed({**inputs, "sm_scale": scale}, {"causal": causal}, assumed=assumed + more)


def mla(call: Call, strict: bool) -> Observed:
    """BatchMLAPagedAttentionWrapper: decode where every request has one query row."""
    plan = plan_of(call)
    names = ("num_heads", "head_dim_ckv", "head_dim_kpe", "page_size")
    heads, ckv, kpe, page_size = (number(plan, name) for name in names)
    qo_indptr = tables.offsets(tensor(plan, "qo_indptr"), "qo_indptr")
    indptr = tables.offsets(tensor(plan, "kv_indptr"), "kv_indptr")
    rows, one_each = int(qo_indptr[-1]), bool((qo_indptr[1:] - qo_indptr[:-1] == 1).all())
    inputs: dict[str, Any] = {}
    for part, size in (("ckv", ckv), ("kpe", kpe)):
        name = "q_nope" if part == "ckv" else "q_pe"
        inputs[name] = _latent_query(call, strict, name, rows, heads, size)
        inputs[f"{part}_cache"] = _latent_cache(call, strict, f"{part}_cache", page_size, size)
    pages = inputs["ckv_cache"].shape[0]
    agree(strict, "pages", ckv_cache=pages, kpe_cache=inputs["kpe_cache"].shape[0])
    last = tables.from_lengths(tensor(plan, "kv_len_arr"), indptr, page_size)
    inputs |= {
        "kv_indptr": Kept(indptr),
        "kv_indices": Kept(tables.page_ids(tensor(plan, "kv_indices"), indptr, pages)),
        "kv_last_page_len": Kept(last),
    }
    plain(
        call, "o_scale", "ckv_scale", "kpe_scale", "bmm1_scale", "bmm2_scale", allowed=kv_pools.UNIT
    )
    plain(call, "sinks", "ckv_scale_arr", "page_table", "query", "kv_cache")
    scale, assumed = kv_pools.softmax_scale(call, ckv)
    if assumed:
        raise Unusable(OTHER_SEMANTICS, "the plan of an MLA wrapper has no sm_scale")
    if not one_each:
        inputs["qo_indptr"] = Kept(qo_indptr)
    facts = {"causal": bool(plan.arguments.get("causal")), "one_query_each": one_each}
    return Observed({**inputs, "sm_scale": scale}, facts, notes=_from_plan(call))


def _query(call: Call, strict: bool, heads: int, dim: int) -> Shaped:
    q = shaped(tensor(call, "q"))
    rank(q, 3, "q")
    agree(strict, "query heads", q=q.shape[1], plan=heads)
    agree(strict, "head dim", q=q.shape[2], plan=dim)
    return q


def _latent_query(call: Call, strict: bool, name: str, rows: int, heads: int, size: int) -> Shaped:
    q = shaped(tensor(call, name))
    rank(q, 3, name)
    if not call.from_plan:
        agree(strict, f"rows of {name}", plan=rows, tensor=q.shape[0])
    agree(strict, f"heads of {name}", tensor=q.shape[1], plan=heads)
    agree(strict, f"dim of {name}", tensor=q.shape[2], plan=size)
    return Shaped((rows, *q.shape[1:]), q.dtype, None if call.from_plan else q.source)


def _latent_cache(call: Call, strict: bool, name: str, page_size: int, size: int) -> Shaped:
    cache = shaped(tensor(call, name))
    rank(cache, 3, name)
    agree(strict, f"page size of {name}", tensor=cache.shape[1], plan=page_size)
    agree(strict, f"dim of {name}", tensor=cache.shape[2], plan=size)
    return cache


def _paged(
    call: Call, strict: bool, kv_heads: int, dim: int, indptr: numpy.ndarray, *names: str
) -> dict[str, Any]:
    """The pools and page tables of a paged GQA call; `names` of the ids and last lengths."""
    plan = plan_of(call)
    page_size = number(plan, "page_size")
    keys, values = kv_pools.pools(call, page_size, kv_heads)
    agree(strict, "pages", keys=keys.shape[0], values=values.shape[0])
    agree(strict, "page size", pool=keys.shape[1], plan=page_size)
    agree(strict, "KV heads", pool=keys.shape[2], plan=kv_heads)
    agree(strict, "head dim of the pool", pool=keys.shape[3], plan=dim)
    ids, last = names
    longest = tables.longest(indptr, page_size)
    kv_pools.check_plain(call, longest)
    return {
        "k_cache": keys,
        "v_cache": values,
        "kv_indptr": Kept(indptr),
        "kv_indices": Kept(tables.page_ids(tensor(plan, ids), indptr, keys.shape[0])),
        "kv_last_page_len": Kept(tables.last_page_lens(tensor(plan, last), indptr, page_size)),
    }


def _from_plan(call: Call) -> tuple[str, ...]:
    if not call.from_plan:
        return ()
    return ("a plan without a recorded run: q and pool as in another run of its wrapper",)
