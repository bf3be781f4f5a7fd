"""What a trace dump loses: a call's tensors, arguments and plan, one JSON line a kind of call.

A dump holds a template's reading of a call. It has no cache layout or rank, no mask, window or soft
cap, no stage, no value head dim, no routing, no eps; and of two calls that get one name only one is
written. A pass that watches the calls writes a `CallContext` for each distinct call beside the
dump, in CONTEXT_FILE; `write_line` makes the line, `read` reads a file back.

What is recorded is what was passed: names of parameters, shapes, dtypes, scalars, the plan's
arguments and the attributes that `forward()` set on the wrapper. What it means is decided here, by
`CallContext.known`. A person may give a fact directly, under `facts`; it wins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernelkit.errors import UsageError

SCHEMA_VERSION = 1
CONTEXT_FILE = "context.jsonl"  # in the dump's folder, next to the raw dumps

Plain = bool | int | float | str | None
Stage = Literal["decode", "prefill"]
# FlashInfer's RoutingMethodType, as the names of definitions have it.
ROUTINGS = {0: "default", 1: "renorm", 2: "ds", 3: "llama4", 4: "renorm_naive", 5: "topk"}


class TensorFact(BaseModel):
    """A tensor argument: shape, element type without "torch.", strides where they were seen."""

    model_config = ConfigDict(extra="forbid")

    shape: list[int]
    dtype: str
    stride: list[int] | None = None


class Facts(BaseModel):
    """What a dump does not tell, in the field's terms. None: not known.

    kv_rank: dimensions of each K and V cache tensor as passed (SGLang: 3). kv_layout: "NHD" or
    "HND". window_left: -1 is none. logits_soft_cap: 0 is none. page_size: tokens a page of the
    cache that the kernel sees. eps: of a norm. state_layout: "k_last" or "k_major" (GDN).
    """

    model_config = ConfigDict(extra="forbid")

    kv_layout: Literal["NHD", "HND"] | None = None
    kv_rank: int | None = None
    num_kv_heads: int | None = None
    page_size: int | None = None
    causal: bool | None = None
    window_left: int | None = None
    logits_soft_cap: float | None = None
    sm_scale: float | None = None
    custom_mask: bool | None = None
    stage: Stage | None = None
    v_head_dim: int | None = None
    routing: str | None = None
    num_experts: int | None = None
    num_local_experts: int | None = None
    n_group: int | None = None
    topk_group: int | None = None
    is_neox: bool | None = None
    eps: float | None = None
    state_layout: Literal["k_last", "k_major"] | None = None
    use_qk_l2norm: bool | None = None


class CallContext(BaseModel):
    """One distinct call of a FlashInfer API, as a watching pass saw it.

    api: the dotted path with the method (`flashinfer.mla.BatchMLAPagedAttentionWrapper.run`).
    dump: the `name` of the raw dump of this call, where the pass knows it. tensors, scalars: the
    call's arguments by parameter name; the members of a tuple are `paged_kv_cache.0` and `.1`.
    plan, plan_tensors: the arguments of the plan() that the call runs under, then the wrapper's
    attributes in force (kv_layout, causal, window_left, logits_soft_cap, sm_scale). dtypes are
    written as "bfloat16".
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    api: str
    dump: str | None = None
    tensors: dict[str, TensorFact] = Field(default_factory=dict)
    scalars: dict[str, Plain] = Field(default_factory=dict)
    plan: dict[str, Plain] = Field(default_factory=dict)
    plan_tensors: dict[str, TensorFact] = Field(default_factory=dict)
    facts: Facts = Field(default_factory=Facts)
    calls: int = 1  # how many calls of this kind there were
    # where it came from
    model: str | None = None
    tp: int | None = None
    ep: int | None = None
    rank: int | None = None
    layer: int | None = None
    server_page_size: int | None = None
    weights: Literal["dummy", "real"] | None = None
    sglang: str | None = None
    flashinfer: str | None = None

    def known(self) -> Facts:
        """The facts given, and those that follow from the arguments."""
        derived = {**_of_cache(self), **_of_attention(self), **_of_others(self)}
        given = self.facts.model_dump(exclude_none=True)
        return Facts(**{**{k: v for k, v in derived.items() if v is not None}, **given})


def _of_cache(call: CallContext) -> dict[str, object]:
    """Layout, rank, heads and page size of a paged cache."""
    cache = _tensor(call, "paged_kv_cache.0", "paged_k_cache", "k_cache")
    whole = _tensor(call, "paged_kv_cache")  # one tensor for K and V: axis 1 tells them apart
    if cache is None and whole is not None:
        cache = TensorFact(shape=[whole.shape[0], *whole.shape[2:]], dtype=whole.dtype)
    layout = _plain(call, "kv_layout", "_kv_layout")
    facts: dict[str, object] = {
        "kv_layout": layout,
        "num_kv_heads": _plain(call, "num_kv_heads"),
        "page_size": _plain(call, "page_size"),
    }
    if cache is None:
        return facts
    facts["kv_rank"] = len(cache.shape)
    if len(cache.shape) == 3:
        facts |= {"num_kv_heads": cache.shape[1], "page_size": 1}
    elif len(cache.shape) == 4 and layout in ("NHD", "HND"):
        page, heads = (1, 2) if layout == "NHD" else (2, 1)
        facts |= {"num_kv_heads": cache.shape[heads], "page_size": cache.shape[page]}
    return facts


def _of_attention(call: CallContext) -> dict[str, object]:
    """Mask, scale, stage and value head dim."""
    values = _tensor(call, "v", "paged_kv_cache.1", "paged_v_cache", "v_cache")
    mask = _tensor(call, "custom_mask", "packed_custom_mask")
    return {
        "causal": _plain(call, "causal", "_causal"),
        "window_left": _plain(call, "window_left", "_window_left"),
        "logits_soft_cap": _plain(call, "logits_soft_cap", "_logits_soft_cap"),
        "sm_scale": _plain(call, "sm_scale", "_sm_scale"),
        "custom_mask": True if mask is not None else None,
        "stage": _stage(call),
        "v_head_dim": values.shape[-1] if values else _plain(call, "head_dim_vo"),
    }


def _stage(call: CallContext) -> Stage | None:
    """By the wrapper; FlashInfer's MLA wrapper serves both, and its causal mask tells."""
    if "BatchDecode" in call.api:
        return "decode"
    if "BatchPrefill" in call.api:
        return "prefill"
    if "BatchMLA" in call.api and _plain(call, "causal", "_causal") is not None:
        return "prefill" if _plain(call, "causal", "_causal") else "decode"
    return None


def _of_others(call: CallContext) -> dict[str, object]:
    """Routing, experts, rotary style, eps, state layout."""
    method = _plain(call, "routing_method_type")
    return {
        "routing": ROUTINGS.get(method) if isinstance(method, int) else None,
        "num_experts": _plain(call, "num_experts"),
        "num_local_experts": _plain(call, "local_num_experts", "num_local_experts"),
        "n_group": _plain(call, "n_group"),
        "topk_group": _plain(call, "topk_group"),
        "is_neox": _plain(call, "is_neox"),
        "eps": _plain(call, "eps"),
        "use_qk_l2norm": _plain(call, "use_qk_l2norm", "use_qk_l2norm_in_kernel"),
    }


def _tensor(call: CallContext, *names: str) -> TensorFact | None:
    for name in names:
        if found := call.tensors.get(name) or call.plan_tensors.get(name):
            return found
    return None


def _plain(call: CallContext, *names: str) -> Plain:
    """The first that is known; an argument of the call goes before one of the plan."""
    for source in (call.scalars, call.plan):
        for name in names:
            if source.get(name) is not None:
                return source[name]
    return None


def write_line(call: CallContext) -> str:
    """The record's JSON line, without what is not known, with a newline."""
    return json.dumps(call.model_dump(mode="json", exclude_none=True)) + "\n"


@dataclass(frozen=True)
class Line:
    """One line of a context file: its record, or why it could not be read."""

    number: int
    call: CallContext | None
    error: str = ""


def read(path: Path) -> Iterator[Line]:
    """Every line of a context file. A bad line (a killed writer's last) carries its error.

    Raises UsageError where the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            "the context file cannot be read", received=f"{path}: {error.strerror or error}"
        ) from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield Line(number, CallContext.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            yield Line(number, None, f"{place}: {first['msg']}" if place else str(first["msg"]))
