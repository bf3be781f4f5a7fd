"""Further inputs of a smoke run: requests of no or few tokens, inputs of None, a scale of 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs

if TYPE_CHECKING:
    import torch

OFFSETS = ("kv_indptr", "qo_indptr", "cu_seqlens")
SLOTS = ("initial_state_indices", "state_batch_indices")


def without_tokens(inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
    """Named variations in which one request has no tokens (its neighbour has them)."""
    for name in OFFSETS:
        if inputs.get(name) is not None and (moved := emptied(inputs[name])) is not None:
            changes: Inputs = {name: moved}
            if name == "kv_indptr" and inputs.get("kv_last_page_len") is not None:
                changes["kv_last_page_len"] = _last_pages(inputs["kv_last_page_len"])
            yield f"{name} with an empty first request", {**inputs, **changes}
    if (short := _fewer_keys(inputs)) is not None:
        yield "queries before the first key", {**inputs, **short}
    if inputs.get("seq_lens") is not None and len(inputs["seq_lens"]):
        lengths = inputs["seq_lens"].clone()
        lengths[0] = 0
        yield "seq_lens of 0", {**inputs, "seq_lens": lengths}
    for name in ("sparse_indices", *SLOTS):
        if inputs.get(name) is not None and len(inputs[name]):
            padded = inputs[name].clone()
            padded[0] = -1
            yield f"{name} of -1", {**inputs, name: padded}


def emptied(offsets: torch.Tensor) -> torch.Tensor | None:
    """Offsets whose first range is empty and whose last has its elements; None below two ranges."""
    if len(offsets) < 3:
        return None
    counts = offsets.diff()
    counts[-1] += counts[0]
    counts[0] = 0
    moved = offsets.clone()
    moved[1:] = offsets[0] + counts.cumsum(0)
    return moved


def _fewer_keys(inputs: Inputs) -> Inputs | None:
    """One key for the request of most queries, its others for its neighbour; None for one query."""
    if inputs.get("qo_indptr") is None or inputs.get("kv_indptr") is None:
        return None
    queries, keys = inputs["qo_indptr"].diff(), inputs["kv_indptr"].diff()
    if len(queries) < 2 or int(queries.max()) < 2:
        return None
    request = int(queries.argmax())
    neighbour = request - 1 if request else 1
    keys[neighbour] += keys[request] - 1
    keys[request] = 1
    moved = inputs["kv_indptr"].clone()
    moved[1:] = moved[0] + keys.cumsum(0)
    changes: Inputs = {"kv_indptr": moved}
    if inputs.get("kv_last_page_len") is not None:
        changes["kv_last_page_len"] = inputs["kv_last_page_len"].clone()
        changes["kv_last_page_len"][request] = 1
    return changes


def _last_pages(lengths: torch.Tensor) -> torch.Tensor:
    moved = lengths.clone()
    moved[0] = 0
    return moved


def options(definition: Definition, inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
    """Optional inputs of None, and the recurrent families' scale of 0 and None."""
    for name, spec in definition.inputs.items():
        if spec.optional:
            yield f"{name} of None", {**inputs, name: None}
    if definition.op_type == "gdn" and "scale" in inputs:
        for value in (0.0, None):
            yield f"a scale of {value}", {**inputs, "scale": value}
