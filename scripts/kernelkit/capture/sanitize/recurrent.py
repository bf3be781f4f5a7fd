"""State-space and gated-delta-net calls: states by request or by slot of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelkit.capture.sanitize import tables
from kernelkit.capture.sanitize.calls import BAD_INDEX, OTHER_SEMANTICS, Call, TensorArg, Unusable
from kernelkit.capture.sanitize.observed import (
    Kept,
    Observed,
    Shaped,
    index,
    plain,
    shaped,
    tensor,
)

if TYPE_CHECKING:
    import numpy

NORMALISED = "q and k are normalised inside the recorded call; the definition takes them so"
GATES = "the call holds computed gates; the definition's raw ones are in no record, and random"
_PER_HEAD = ("A_log", "dt_bias")


def gdn_decode(call: Call, strict: bool) -> Observed:
    """gated_delta_rule_decode_pretranspose: states of requests, or slots of a pool."""
    plain(call, "disable_state_update", allowed=(False, None))
    inputs, notes = _gdn_heads(call)
    requests = inputs["q"].shape[0]
    state = call.arguments.get("state")
    pool = call.arguments.get("initial_state")
    if isinstance(state, TensorArg):
        inputs["state"] = shaped(state)
    elif isinstance(pool, TensorArg):
        slots = index(tensor(call, "initial_state_indices"))
        _check_slots(slots, requests, pool.shape[0])
        inputs["state"] = Shaped((requests, *pool.shape[1:]), pool.dtype)
    return Observed(inputs, notes=notes)


def gdn_mtp(call: Call, strict: bool) -> Observed:
    """gated_delta_rule_mtp, which leaves the states of the pool as they are."""
    plain(call, "disable_state_update", allowed=(True,))
    plain(call, "ssm_state_indices", "output_state_indices")
    plain(call, "cache_replayssm", allowed=(False, None))
    inputs, notes = _gdn_heads(call)
    pool = shaped(tensor(call, "initial_state"))
    slots = index(tensor(call, "initial_state_indices"))
    _check_slots(slots, inputs["q"].shape[0], pool.shape[0])
    inputs |= {"initial_state": pool, "initial_state_indices": Kept(slots)}
    buffer = call.arguments.get("intermediate_states_buffer")
    if isinstance(buffer, TensorArg):
        inputs["intermediate_states_buffer"] = shaped(buffer)
    return Observed(inputs, notes=notes)


def gdn_prefill(call: Call, strict: bool) -> Observed:
    """chunk_gated_delta_rule; of the raw gates the shapes are known."""
    plain(call, "state_checkpoints", "checkpoint_cu_starts")
    inputs: dict[str, Any] = {name: shaped(tensor(call, name)) for name in "qkv"}
    bounds = tables.offsets(tensor(call, "cu_seqlens"), "cu_seqlens", "int64")
    if int(bounds[-1]) != inputs["q"].shape[0]:
        text = f"cu_seqlens end at {bounds[-1]}, q has {inputs['q'].shape[0]} rows"
        raise Unusable(BAD_INDEX, text)
    gate = tensor(call, "g").shape
    for name in ("a", "b"):
        inputs[name] = Shaped(gate, "bfloat16")
    for name in _PER_HEAD:
        inputs[name] = Shaped(gate[-1:], "float32")
    state = call.arguments.get("initial_state")
    if isinstance(state, TensorArg):
        inputs["state"] = Shaped((len(bounds) - 1, *state.shape[1:]), state.dtype)
    inputs |= {"cu_seqlens": Kept(bounds), "scale": _scale(call, inputs["q"])}
    return Observed(inputs, notes=(GATES,))


def mamba(call: Call, strict: bool) -> Observed:
    """selective_state_update over a pool of states."""
    plain(call, "z", "state_scale", "dst_state_batch_indices", "cu_seqlens")
    plain(call, "intermediate_states_buffer", "num_accepted_tokens")
    plain(call, "dt_softplus", allowed=(True,))
    plain(call, "disable_state_update", allowed=(False, None))
    inputs: dict[str, Any] = {
        name: shaped(tensor(call, name)) for name in ("state", "x", "dt", "A", "B", "C")
    }
    for name in ("D", "dt_bias"):
        inputs[name] = Shaped(tensor(call, name).shape, "bfloat16")
    slots = index(tensor(call, "state_batch_indices")).copy()
    pad = call.arguments.get("pad_slot_id")
    if isinstance(pad, int):
        slots[slots == pad] = -1
    _check_slots(slots, inputs["x"].shape[0], inputs["state"].shape[0])
    inputs["state_batch_indices"] = Kept(slots)
    return Observed(inputs)


def _gdn_heads(call: Call) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What decode and mtp share; parameters of heads count as float32, whatever held them."""
    names = ("q", "k", "v", "a", "b")
    inputs: dict[str, Any] = {name: shaped(tensor(call, name)) for name in names}
    normalised = call.arguments.get("use_qk_l2norm", True)
    for name in ("q", "k") if normalised else ():
        inputs[name] = Shaped(inputs[name].shape, inputs[name].dtype)
    for name in _PER_HEAD:
        inputs[name] = Shaped(tensor(call, name).shape, "float32")
    inputs["scale"] = _scale(call, inputs["q"])
    return inputs, (NORMALISED,) if normalised else ()


def _scale(call: Call, q: Shaped) -> float:
    """The output scale; none and 0 stand for 1/sqrt(head size)."""
    value = call.arguments.get("scale")
    if value is None or value == 0:
        return float(q.shape[-1] ** -0.5)
    if not isinstance(value, (int, float)):
        raise Unusable(OTHER_SEMANTICS, "scale is no number")
    return float(value)


def _check_slots(slots: numpy.ndarray, requests: int, pool: int) -> None:
    """Raises Unusable for slots that are not in the pool (below 0: padding), or too few."""
    if slots.shape != (requests,):
        raise Unusable(BAD_INDEX, f"{list(slots.shape)} slots for {requests} requests")
    if slots.size and slots.max() >= pool:
        raise Unusable(BAD_INDEX, f"slot {slots.max()} in a pool of {pool}")
