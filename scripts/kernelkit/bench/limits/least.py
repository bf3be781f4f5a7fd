"""The least that every right kernel of an op must read, write and compute, family by family.

Not the cost model of the ops, which says what a call usually moves: here only what cannot be
avoided counts, so that no honest kernel is ever below it.

- A page that two requests share is read once, however often the cost model counts it.
- Indexed tensors (caches, state pools, experts) count only what the indices of this very call
  name; without the inputs they count nothing.
- What may be skipped counts nothing: padding, requests without queries, the index of a request
  whose tokens are all chosen anyway, a sampler's probabilities (a draw may be accepted early).
- States may be returned as they came, and are no written bytes.
- FLOPs count for matrix products only: elsewhere algorithms differ in them, and memory binds.
- A definition with an input that its family does not have (a window, a mask) is another op, of
  which nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family, paged
from kernelkit.ops.base import Axes, Inputs, tensor_bytes

if TYPE_CHECKING:
    import torch

PAGES = {"kv_indptr", "kv_indices", "kv_last_page_len", "qo_indptr", "sm_scale"}
KNOWN = {
    "rmsnorm": {"hidden_states", "weight", "residual"},
    "gemm": {"A", "B"},
    "rope": {"q", "k", "cos_sin_cache", "positions"},
    "gqa_paged": {"q", "k_cache", "v_cache", *PAGES},
    "mla_paged": {"q_nope", "q_pe", "ckv_cache", "kpe_cache", *PAGES},
    "gqa_ragged": {"q", "k", "v", "qo_indptr", "kv_indptr", "sm_scale"},
    "mla_ragged": {"q", "k", "v", "qo_indptr", "kv_indptr", "sm_scale"},
    "dsa_paged": {"q_nope", "q_pe", "ckv_cache", "kpe_cache", "sparse_indices", "sm_scale",
                  "q_index_fp8", "k_index_cache_fp8", "weights", "seq_lens", "block_table"},
    "gdn": {"q", "k", "v", "state", "initial_state", "initial_state_indices", "A_log", "a",
            "dt_bias", "b", "cu_seqlens", "scale", "intermediate_states_buffer"},
    "mamba_ssu": {"state", "x", "dt", "A", "B", "C", "D", "dt_bias", "state_batch_indices"},
}  # fmt: skip


@dataclass(frozen=True)
class Least:
    """Bytes read from inputs, bytes of outputs written, FLOPs of matrix products."""

    read: float = 0.0
    written: float = 0.0
    flops: float = 0.0


def least(definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Least:
    """See above. Zeros for an op type that is not known, and for a definition of another form.

    Raises what arithmetic on odd axes and inputs raises; the caller takes that as zeros.
    """
    rule = RULES.get(definition.op_type)
    names = set(definition.inputs)
    if rule is None or not names <= KNOWN.get(definition.op_type, names):
        return Least()
    read, flops = rule(definition, axes, inputs)
    fresh = [name for name in definition.outputs if "state" not in name]
    written = sum(tensor_bytes(definition, name, axes) for name in fresh)
    return Least(max(0.0, read), float(written), max(0.0, flops))


Rule = Callable[[Definition, Axes, "Inputs | None"], "tuple[float, float]"]  # bytes, FLOPs


def _dense(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    return sum(tensor_bytes(definition, name, axes) for name in definition.inputs), 0.0


def _gemm(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    return _dense(definition, axes, inputs)[0], _model_flops(definition, axes, inputs)


def _rope(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    return _bytes(definition, axes, "q", "k"), 0.0


def _nothing(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    return 0.0, 0.0


def _paged(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    """Distinct cached tokens of the requests that have queries."""
    if inputs is None:
        return 0.0, 0.0
    size = definition.const_axes["page_size"]
    starts = inputs["kv_indptr"].long()
    counts = starts.diff()
    pages = inputs["kv_indices"][int(starts[0]) : int(starts[-1])].long()
    tokens = pages.new_full(pages.shape, size)
    if "kv_last_page_len" in inputs:
        ends = (starts[1:] - 1 - starts[0])[counts > 0]
        tokens[ends] = inputs["kv_last_page_len"].long()[counts > 0]
    if "qo_indptr" in inputs:
        tokens = tokens * (inputs["qo_indptr"].long().diff() > 0).repeat_interleave(counts)
    caches = [name for name in definition.inputs if name.endswith("_cache")]
    a_token = _bytes(definition, axes, *caches) / max(1, axes["num_pages"] * size)
    return distinct_tokens(pages, tokens) * a_token, _model_flops(definition, axes, inputs)


def distinct_tokens(pages: torch.Tensor, tokens: torch.Tensor) -> int:
    """Cached tokens, each once: of each of `pages` [n] the most `tokens` [n] seen of it."""
    if not pages.numel():
        return 0
    held = tokens.new_zeros(int(pages.max()) + 1)
    return int(held.scatter_reduce_(0, pages, tokens, "amax").sum())


def _ragged(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    """Keys and values of the requests that have queries; those queries."""
    if inputs is None:
        return 0.0, 0.0
    q_lens, kv_lens = paged.lengths(inputs, 1)
    seen = [kv for q, kv in zip(q_lens or [], kv_lens, strict=True) if q > 0]
    share = sum(seen) / max(1, axes["total_kv"])
    return share * _bytes(definition, axes, "k", "v"), _model_flops(definition, axes, inputs)


def _dsa(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    """Sparse attention: distinct slots. Indexer: pages of the requests with a choice to make."""
    if inputs is None:
        return 0.0, 0.0
    size, topk = definition.const_axes["page_size"], definition.const_axes["topk"]
    slots = max(1, axes["num_pages"] * size)
    if "sparse_indices" in definition.inputs:
        chosen = _distinct(inputs["sparse_indices"])
        a_slot = _bytes(definition, axes, "ckv_cache", "kpe_cache") / slots
        return chosen * a_slot, _model_flops(definition, axes, inputs)
    table, lengths = inputs["block_table"].long(), inputs["seq_lens"].long()
    before = (table.new_ones(table.shape[1]).cumsum(0) - 1) * size
    tokens = (lengths[:, None] - before).clamp(0, size) * (lengths > topk)[:, None]
    a_slot = _bytes(definition, axes, "k_index_cache_fp8") / slots
    return distinct_tokens(table[tokens > 0], tokens[tokens > 0]) * a_slot, 0.0


def _gdn(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    """States that come in; of prefill also q, k and v."""
    rows = _bytes(definition, axes, "q", "k", "v") if "cu_seqlens" in definition.inputs else 0.0
    if inputs is None:
        return rows, 0.0
    if "initial_state" in definition.inputs:
        a_slot = _bytes(definition, axes, "initial_state") / max(1, axes["pool_size"])
        return rows + _distinct(inputs["initial_state_indices"]) * a_slot, 0.0
    return rows + (_bytes(definition, axes, "state") if inputs["state"] is not None else 0.0), 0.0


def _mamba(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    """States of the slots in use."""
    if inputs is None:
        return 0.0, 0.0
    a_slot = _bytes(definition, axes, "state") / max(1, axes["state_cache_size"])
    return _distinct(inputs["state_batch_indices"]) * a_slot, 0.0


def _moe(definition: Definition, axes: Axes, inputs: Inputs | None) -> tuple[float, float]:
    """Weights of the experts that have tokens: the model's bytes without all that has a row a
    token."""
    if inputs is None:
        return 0.0, 0.0
    cost = family("moe").cost(definition, axes, inputs)
    specs = {**definition.inputs, **definition.outputs}
    rows = [n for n, s in specs.items() if set(s.shape or ()) & set(definition.var_axes)]
    return cost.bytes_moved - _bytes(definition, axes, *rows), cost.flops


def _model_flops(definition: Definition, axes: Axes, inputs: Inputs | None) -> float:
    return family(definition.op_type).cost(definition, axes, inputs).flops


def _bytes(definition: Definition, axes: Axes, *names: str) -> float:
    return sum(tensor_bytes(definition, name, axes) for name in names)


def _distinct(indices: torch.Tensor) -> int:
    """How many different indices there are; those below 0 are padding."""
    return int((indices.unique() >= 0).sum())


RULES: dict[str, Rule] = {
    "rmsnorm": _dense,
    "gemm": _gemm,
    "rope": _rope,
    "sampling": _nothing,
    "gqa_paged": _paged,
    "mla_paged": _paged,
    "gqa_ragged": _ragged,
    "mla_ragged": _ragged,
    "dsa_paged": _dsa,
    "gdn": _gdn,
    "mamba_ssu": _mamba,
    "moe": _moe,
}
