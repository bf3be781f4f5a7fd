"""What recorded FlashInfer calls say in the dataset's words: inputs by the definitions' names.

One function per API in CONVERTERS. A wrapper's `run` belongs to the last `plan` before it with the
same process and wrapper. Plans without a recorded run (a dump has a limit of calls) still show a
real decode batch; they take the KV pool's shape from another run of the same wrapper.
Float tensors become shapes; index tensors and per-request settings keep their values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kernelkit.capture.level10 import Call, TensorArg
from kernelkit.errors import FormatError

SM_SCALE_NOTE = (
    "sm_scale is in no record (it was passed to forward()): head_dim ** -0.5, SGLang's default"
)
CAUSAL_NOTE = "causal is in no record (it was passed to forward()): SGLang's ragged prefill is"

JOINT_NOTE = "recorded with filter_apply_order=joint; the definition filters by top_k, then top_p"


@dataclass(frozen=True)
class Shaped:
    """An input of which only shape and dtype are kept."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Recorded:
    """A call as a definition sees it. `inputs` values: Shaped, an array (kept), or a number.

    `semantics` must equal what the definition's family reads from its reference (e.g. eps).
    """

    api: str  # last component of the definition's fi_api tag
    inputs: dict[str, Any]
    semantics: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def convert(calls: list[Call]) -> tuple[list[Recorded], list[str]]:
    """Every call that a converter knows, in order, and notes on those left out."""
    notes = []
    if incomplete := sum(not call.completed for call in calls):
        notes.append(f"{incomplete} calls did not complete and are left out")
    done = [call for call in calls if call.completed]
    found: list[Recorded] = []
    unknown: dict[str, int] = {}
    for call in done:
        converter = CONVERTERS.get(call.api)
        if converter is None or call.method == "__init__":
            unknown[call.function] = unknown.get(call.function, 0) + 1
            continue
        try:
            found += converter(call, done)
        except (FormatError, KeyError, AttributeError, TypeError) as error:
            notes.append(f"{call.folder.name}: not usable: {error}")
    notes += [f"no workload is made of {name} ({n} calls)" for name, n in sorted(unknown.items())]
    return found, notes


def _norm(call: Call, calls: list[Call]) -> Iterator[Recorded]:
    names = {"input": "hidden_states", "residual": "residual", "weight": "weight"}
    inputs = {
        ours: _shaped(call.arguments[theirs])
        for theirs, ours in names.items()
        if theirs in call.arguments
    }
    yield Recorded(call.api, inputs, {"eps": call.arguments["eps"]})


def _sampling(call: Call, calls: list[Call]) -> Iterator[Recorded]:
    inputs: dict[str, Any] = {"probs": _shaped(call.arguments["probs"])}
    for name in ("top_k", "top_p"):
        value = call.arguments.get(name)
        if isinstance(value, TensorArg):
            inputs[name] = value.data()
    joint = call.arguments.get("filter_apply_order") == "joint"
    yield Recorded(call.api, inputs, notes=(JOINT_NOTE,) if joint else ())


def _decode(call: Call, calls: list[Call]) -> Iterator[Recorded]:
    if call.method != "plan":
        return
    plan = call.arguments
    run = _run_of(call, calls) or _any_run(call, calls)
    if run is None:
        raise FormatError("no run of this wrapper is recorded: the KV pool's size is not known")
    indptr = plan["indptr"].data()
    heads, dim, page = plan["num_qo_heads"], plan["head_dim"], plan["page_size"]
    keys, values = _paged_cache(run.arguments["paged_kv_cache"], page)
    query = Shaped((len(indptr) - 1, heads, dim), _shaped(run.arguments["q"]).dtype)
    inputs = {
        "q": query,
        "k_cache": keys,
        "v_cache": values,
        "kv_indptr": indptr,
        "kv_indices": plan["indices"].data()[: int(indptr[-1])],
        "kv_last_page_len": plan["last_page_len"].data(),
    }
    yield _with_scale(call, inputs, plan.get("sm_scale"), dim)


def _ragged(call: Call, calls: list[Call]) -> Iterator[Recorded]:
    if call.method != "run":
        return
    plan = _plan_of(call, calls)
    if plan is None:
        raise FormatError("no plan before this run is recorded")
    inputs: dict[str, Any] = {name: _shaped(call.arguments[name]) for name in ("q", "k", "v")}
    for name in ("qo_indptr", "kv_indptr"):
        inputs[name] = plan.arguments[name].data()
    dim = plan.arguments["head_dim_qk"]
    notes = () if plan.arguments.get("causal") else (CAUSAL_NOTE,)
    yield _with_scale(call, inputs, plan.arguments.get("sm_scale"), dim, notes)


def _with_scale(
    call: Call,
    inputs: dict[str, Any],
    sm_scale: float | None,
    head_dim: int,
    notes: tuple[str, ...] = (),
) -> Recorded:
    if sm_scale is None:
        sm_scale, notes = 1 / math.sqrt(head_dim), (*notes, SM_SCALE_NOTE)
    return Recorded(call.api, {**inputs, "sm_scale": float(sm_scale)}, notes=notes)


def _plan_of(run: Call, calls: list[Call]) -> Call | None:
    """The last plan before `run` of the same wrapper."""
    plans = [c for c in calls[: calls.index(run)] if _same_wrapper(c, run, "plan")]
    return plans[-1] if plans else None


def _run_of(plan: Call, calls: list[Call]) -> Call | None:
    """The first run after `plan` of the same wrapper, before its next plan."""
    for call in calls[calls.index(plan) + 1 :]:
        if _same_wrapper(call, plan, "plan"):
            return None
        if _same_wrapper(call, plan, "run"):
            return call
    return None


def _any_run(plan: Call, calls: list[Call]) -> Call | None:
    return next((call for call in calls if _same_wrapper(call, plan, "run")), None)


def _same_wrapper(call: Call, other: Call, method: str) -> bool:
    return (call.process, call.wrapper, call.api, call.method) == (
        other.process, other.wrapper, other.api, method,
    )  # fmt: skip


def _paged_cache(cache: object, page_size: int) -> tuple[Shaped, Shaped]:
    """Key and value pools as [pages, page_size, heads, dim].

    SGLang hands over 3-D buffers [tokens, heads, dim]; FlashInfer's own form is one tensor
    [pages, 2, page_size, heads, dim] or a pair of 4-D ones.
    """
    if isinstance(cache, TensorArg):
        pages, _, *rest = cache.shape
        both = Shaped((pages, *rest), cache.dtype)
        return both, both
    keys, values = (_shaped(item) for item in cache)
    return _as_pages(keys, page_size), _as_pages(values, page_size)


def _as_pages(pool: Shaped, page_size: int) -> Shaped:
    if len(pool.shape) != 3:
        return pool
    tokens, heads, dim = pool.shape
    return Shaped((tokens // page_size, page_size, heads, dim), pool.dtype)


def _shaped(value: TensorArg) -> Shaped:
    return Shaped(value.shape, value.dtype)


Converter = Callable[[Call, list[Call]], Iterator[Recorded]]
CONVERTERS: dict[str, Converter] = {
    "rmsnorm": _norm,
    "fused_add_rmsnorm": _norm,
    "gemma_rmsnorm": _norm,
    "gemma_fused_add_rmsnorm": _norm,
    "BatchDecodeWithPagedKVCacheWrapper": _decode,
    "BatchPrefillWithRaggedKVCacheWrapper": _ragged,
    "top_k_sampling_from_probs": _sampling,
    "top_p_sampling_from_probs": _sampling,
    "top_k_top_p_sampling_from_probs": _sampling,
}


def forward_sizes(recorded: list[Recorded]) -> dict[int, list[int]]:
    """Tokens of each forward step by hidden size, ascending.

    The rows of norms over the hidden size, which is the size of the fused residual norms (per-head
    and rank norms have other row counts).
    """
    norms = [item for item in recorded if item.api.endswith("rmsnorm")]
    sizes = {item.inputs["weight"].shape[0] for item in norms if "residual" in item.inputs}
    found: dict[int, set[int]] = {size: set() for size in sizes}
    for item in norms:
        rows, size = item.inputs["hidden_states"].shape[-2:]
        if size in found:
            found[size].add(rows)
    return {size: sorted(rows) for size, rows in found.items()}
