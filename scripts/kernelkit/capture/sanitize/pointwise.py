"""Norms, sampling and rotary embedding: functions without a plan."""

from __future__ import annotations

from typing import Any

from kernelkit.capture.sanitize.calls import (
    BAD_INDEX,
    CONTRADICTION,
    EMPTY,
    OTHER_SEMANTICS,
    Call,
    TensorArg,
    Unusable,
)
from kernelkit.capture.sanitize.observed import (
    Kept,
    Observed,
    Shaped,
    index,
    number,
    plain,
    shaped,
    tensor,
)

JOINT = "recorded with filter_apply_order=joint; the definition filters by top_k, then top_p"
_NORM_INPUTS = {"input": "hidden_states", "residual": "residual", "weight": "weight"}


def norm(call: Call, strict: bool) -> Observed:
    """rmsnorm, fused_add_rmsnorm and their gemma_ forms. Per-head calls have rows of heads."""
    inputs = {
        ours: shaped(tensor(call, theirs))
        for theirs, ours in _NORM_INPUTS.items()
        if theirs in call.arguments or theirs != "residual"
    }
    rows = inputs["hidden_states"]
    if len(rows.shape) == 3:  # a norm over each head: FlashInfer takes [tokens, heads, dim]
        tokens, heads, dim = rows.shape
        inputs["hidden_states"] = rows = Shaped((tokens * heads, dim), rows.dtype, rows.source)
    if not rows.shape or not rows.shape[0]:
        raise Unusable(EMPTY, f"input has shape {list(rows.shape)}")
    return Observed(inputs, {"eps": call.arguments.get("eps")})


def sampling(call: Call, strict: bool) -> Observed:
    """top_k, top_p and joint sampling; one setting for all requests becomes one for each."""
    plain(call, "indices")
    probs = shaped(tensor(call, "probs"))
    if not probs.shape or not probs.shape[0]:
        raise Unusable(EMPTY, f"probs has shape {list(probs.shape)}")
    inputs: dict[str, Any] = {"probs": probs}
    for name, dtype in (("top_k", "int32"), ("top_p", "float32")):
        if name in call.arguments:
            inputs[name] = Kept(_setting(call, name, dtype, probs.shape[0]))
    joint = call.arguments.get("filter_apply_order") == "joint"
    return Observed(inputs, notes=(JOINT,) if joint else ())


def _setting(call: Call, name: str, dtype: str, requests: int) -> Any:
    """A setting of each request. Raises Unusable where it has another count or type."""
    import numpy

    value = call.arguments[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return numpy.full(requests, value, dtype)
    if not isinstance(value, TensorArg):
        raise Unusable(OTHER_SEMANTICS, f"{name} is neither a tensor nor a number")
    array = index(value) if name == "top_k" else value.read().array().astype(dtype, copy=False)
    if array.shape != (requests,):
        raise Unusable(CONTRADICTION, f"{list(array.shape)} values of {name}, {requests} requests")
    return array


def rope(call: Call, strict: bool) -> Observed:
    """apply_rope_with_cos_sin_cache_inplace: rows of all heads become [tokens, heads, size]."""
    size = number(call, "head_size")
    cache = shaped(tensor(call, "cos_sin_cache"))
    positions = index(tensor(call, "positions"), "int64")
    if positions.size and (positions.min() < 0 or positions.max() >= cache.shape[0]):
        text = f"positions {positions.min()} to {positions.max()}, {cache.shape[0]} in the cache"
        raise Unusable(BAD_INDEX, text)
    inputs: dict[str, Any] = {
        ours: _heads(tensor(call, theirs), size, theirs)
        for theirs, ours in (("query", "q"), ("key", "k"))
    }
    inputs |= {"cos_sin_cache": cache, "positions": Kept(positions)}
    return Observed(inputs, {"is_neox": bool(call.arguments.get("is_neox", True))})


def _heads(rows: TensorArg, size: int, name: str) -> Shaped:
    if len(rows.shape) == 3 and rows.shape[2] == size:
        return shaped(rows)
    if len(rows.shape) != 2 or rows.shape[1] % size:
        raise Unusable(CONTRADICTION, f"{name} has shape {list(rows.shape)}, heads of {size}")
    tokens, width = rows.shape
    return Shaped((tokens, width // size, size), rows.dtype, rows)
