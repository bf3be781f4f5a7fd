"""What surrounds an attention call: the KV pool's layout, masks, the softmax scale."""

from __future__ import annotations

from typing import Any

from kernelkit.capture.sanitize.calls import (
    CONTRADICTION,
    OTHER_SEMANTICS,
    Call,
    TensorArg,
    Unusable,
)
from kernelkit.capture.sanitize.observed import Shaped, plain, plan_of, shaped

UNIT = (None, 1, 1.0)  # scales that scale nothing


def pools(call: Call, page_size: int, kv_heads: int) -> tuple[Shaped, Shaped]:
    """Keys and values as [pages, page_size, KV heads, dim], from what the call was given.

    A pair of 4-D tensors, one tensor [pages, 2, ...], or SGLang's 3-D ones [tokens, heads, dim],
    which FlashInfer takes as pages of one token. HND pools have heads before tokens.
    """
    cache = call.arguments.get("paged_kv_cache")
    if isinstance(cache, TensorArg):
        if len(cache.shape) not in (4, 5) or cache.shape[1] != 2:
            raise Unusable(CONTRADICTION, f"a KV pool of shape {list(cache.shape)}")
        halves = [Shaped((cache.shape[0], *cache.shape[2:]), cache.dtype)] * 2
    elif isinstance(cache, (tuple, list)) and len(cache) == 2:
        if not all(isinstance(item, TensorArg) for item in cache):
            raise Unusable(OTHER_SEMANTICS, "the KV pool is no pair of tensors")
        halves = [shaped(item) for item in cache]
    else:
        raise Unusable(OTHER_SEMANTICS, "the call was given no KV pool")
    layout = _layout(call, halves[0], page_size, kv_heads)
    keys, values = (_as_pages(half, layout) for half in halves)
    return keys, values


def _layout(call: Call, pool: Shaped, page_size: int, kv_heads: int) -> str:
    """NHD or HND: what the wrapper was made with, else what the plan's sizes leave."""
    made = call.setup.arguments.get("kv_layout") if call.setup is not None else None
    known = call.attributes.get("kv_layout", made)
    if known in ("NHD", "HND"):
        return known
    swapped = len(pool.shape) == 4 and tuple(pool.shape[1:3]) == (kv_heads, page_size)
    return "HND" if swapped and kv_heads != page_size else "NHD"


def _as_pages(pool: Shaped, layout: str) -> Shaped:
    """Raises Unusable for a rank that FlashInfer does not take."""
    if len(pool.shape) == 3:
        tokens, heads, dim = pool.shape
        # A page axis of one is all that is missing: the data are the same bytes.
        return Shaped((tokens, 1, heads, dim), pool.dtype, pool.source)
    if len(pool.shape) != 4:
        raise Unusable(CONTRADICTION, f"a KV pool of shape {list(pool.shape)}")
    if layout == "HND":
        pages, heads, size, dim = pool.shape
        return Shaped((pages, size, heads, dim), pool.dtype)
    return pool


def check_plain(call: Call, longest: int) -> None:
    """Raises Unusable for masks, windows, caps, scales and encodings that no definition has."""
    plan = plan_of(call)
    for made in (plan, call):
        plain(made, "custom_mask", "packed_custom_mask", "sinks", "kv_cache_sf")
        plain(made, "q_scale", "k_scale", "v_scale", "o_scale", allowed=UNIT)
        plain(made, "logits_soft_cap", allowed=(None, 0, 0.0))
        plain(made, "pos_encoding_mode", allowed=(None, "NONE"))
        window = _attribute(made, "window_left")
        if isinstance(window, int) and 0 <= window < longest - 1:
            text = f"window_left is {window}, the longest request has {longest} tokens"
            raise Unusable(OTHER_SEMANTICS, text)


def _attribute(call: Call, name: str) -> Any:
    return call.attributes.get(name, call.arguments.get(name))


def softmax_scale(call: Call, dim: int) -> tuple[float, tuple[str, ...]]:
    """The softmax scale, and its name where it is assumed: head_dim ** -0.5, FlashInfer's and
    SGLang's default. A recorder that saw no scale saw that default."""
    given = call.attributes.get("sm_scale", plan_of(call).arguments.get("sm_scale"))
    if given is not None:
        return float(given), ()
    seen = call.origin.source == "recording" or "sm_scale" in call.attributes
    return dim**-0.5, () if seen else ("sm_scale",)


def causality(call: Call, *, serving: bool = False) -> tuple[bool, tuple[str, ...]]:
    """Whether the mask is causal, and its name where that is assumed.

    SGLang gives it to forward(). Its ragged prefill is causal; its paged one is, but for the part
    over a cached prefix, which asks for the log-sum-exp to merge the two.
    """
    if "causal" in call.attributes:
        return bool(call.attributes["causal"]), ()
    if plan_of(call).arguments.get("causal"):
        return True, ()
    if not serving and call.arguments.get("return_lse"):
        return False, ("causal",)
    return True, ("causal",)
