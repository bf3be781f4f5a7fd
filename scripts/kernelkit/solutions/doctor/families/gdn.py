"""The gated delta rule (decode, prefill, mtp) with knobs, token by token in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.doctor.families.gdn_mutants import mutants

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

__all__ = ["groups", "mutants", "run"]


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    decay: str = "right"  # see _decay
    beta: str = "sigmoid"  # sigmoid, raw, one, softplus, twice
    heads: str = "interleave"  # interleave, tile, first
    scale: str = "given"  # given, one, squared
    state_in: str = "given"  # given, transposed, zero
    state_out: str = "new"  # new, transposed, old, decayed, zero
    rule: str = "delta"  # delta, plain (no S k), undecayed (S k of the state before decay)
    read: str = "new"  # the state that q reads: new, old, decayed
    query: str = "q"  # q, k (swapped)
    order: str = "decay-first"
    carry: str = "own"  # prefill: own, previous (state runs on), reset (each token starts anew)
    slots: str = "given"  # mtp: given, row
    pool: str = "kept"  # mtp: kept, updated
    pads: str = "zero"  # mtp: zero, computed


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """output and new_state (mtp: final_state) of the definition's shapes."""
    import torch

    turned = Knobs(**knobs)
    rows = _rows(inputs)
    decay, beta = _gates(inputs, rows, turned)
    query, key = (_expand(rows[name], rows["v"].shape[2], turned) for name in ("q", "k"))
    if turned.query == "k":
        query, key = key, query
    state, lengths = _initial(definition, inputs, rows, turned)
    scale = _scale(inputs, turned)
    output = torch.zeros_like(rows["v"])
    finals = []
    for number, length in enumerate(lengths):
        current = state[number] if turned.carry != "previous" or not finals else finals[-1]
        for t in range(length):
            current = state[number] if turned.carry == "reset" else current
            step = (query, key, rows["v"], decay, beta)
            current, out = _update(current, *(x[number, t] for x in step), turned)
            output[number, t] = out * scale
        finals.append(current)
    return _results(definition, inputs, output, state, finals, lengths, turned)


def _rows(inputs: Inputs) -> dict[str, torch.Tensor]:
    """q, k, v, a, b as float32 [sequences, tokens, heads, *], padded to the longest."""
    import torch

    names = ("q", "k", "v", "a", "b")
    if "cu_seqlens" not in inputs:
        return {name: inputs[name].float() for name in names}
    offsets = inputs["cu_seqlens"].tolist()
    spans = list(zip(offsets, offsets[1:], strict=False))
    longest = max((b - a for a, b in spans), default=0)
    found = {}
    for name in names:
        value = inputs[name].float()
        padded = value.new_zeros(len(spans), longest, *value.shape[1:])
        for number, (start, end) in enumerate(spans):
            padded[number, : end - start] = value[start:end]
        found[name] = padded
    return found if spans else {n: torch.zeros(0, 0, *v.shape[2:]) for n, v in found.items()}


def _gates(
    inputs: Inputs, rows: dict[str, torch.Tensor], knobs: Knobs
) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    log, bias, a = inputs["A_log"].float(), inputs["dt_bias"].float(), rows["a"]
    plus = torch.nn.functional.softplus
    rate, step = torch.exp(log), plus(a + bias)
    decay = {
        "right": lambda: torch.exp(-rate * step),
        "raw-A": lambda: torch.exp(-log * step),
        "A-as-given": lambda: torch.exp(log * step),
        "positive": lambda: torch.exp(rate * step),
        "log": lambda: -rate * step,
        "exp-of-decay": lambda: torch.exp(torch.exp(-rate * step)),
        "one": lambda: torch.ones_like(a),
        "no-softplus": lambda: torch.exp(-rate * (a + bias)),
        "no-bias": lambda: torch.exp(-rate * plus(a)),
        "bias-outside": lambda: torch.exp(-rate * (plus(a) + bias)),
        "sigmoid": lambda: torch.sigmoid(a),
        "no-A": lambda: torch.exp(-step),
        "raw-a": lambda: a,
        "exp-a": lambda: torch.exp(a),
        "base-2": lambda: torch.exp2(-rate * step),
    }[knobs.decay]()
    b = rows["b"]
    beta = {
        "sigmoid": lambda: torch.sigmoid(b), "raw": lambda: b, "one": lambda: torch.ones_like(b),
        "softplus": lambda: plus(b), "twice": lambda: torch.sigmoid(torch.sigmoid(b)),
        "doubled": lambda: 2.0 * torch.sigmoid(b), "exp": lambda: torch.exp(b),
    }[knobs.beta]()  # fmt: skip
    return decay, beta


def _expand(x: torch.Tensor, heads: int, knobs: Knobs) -> torch.Tensor:
    """Query and key heads for each value head: [sequences, tokens, heads, d]."""
    group = heads // x.shape[2]
    if knobs.heads == "tile":
        return x.repeat(1, 1, group, 1)
    if knobs.heads == "first":
        return x[:, :, :1].expand(-1, -1, heads, -1)
    return x.repeat_interleave(group, dim=2)


def _initial(
    definition: Definition, inputs: Inputs, rows: dict[str, torch.Tensor], knobs: Knobs
) -> tuple[torch.Tensor, list[int]]:
    """The state before the first token of each sequence, and the sequences' lengths."""
    import torch

    count, longest, heads, dim = rows["v"].shape
    given = inputs.get("state", inputs.get("initial_state"))
    if "initial_state_indices" in inputs:
        chosen = inputs["initial_state_indices"].long()
        if knobs.slots == "row":
            chosen = torch.arange(count, device=chosen.device) % len(given)
        given = given[chosen.clamp(min=0)]
    if given is None or knobs.state_in == "zero":
        given = rows["v"].new_zeros(count, heads, dim, rows["q"].shape[3])
    state = given.float()
    if knobs.state_in == "transposed" and state.shape[-1] == state.shape[-2]:
        state = state.transpose(-1, -2)
    if "cu_seqlens" in inputs:
        return state, torch.diff(inputs["cu_seqlens"]).tolist()
    return state, [longest] * count


def _scale(inputs: Inputs, knobs: Knobs) -> float:
    right = inputs["scale"] or inputs["q"].shape[-1] ** -0.5
    return {"given": right, "one": 1.0, "squared": right**2}[knobs.scale]


def _update(
    state: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, decay: torch.Tensor,
    beta: torch.Tensor, knobs: Knobs,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """One token of one sequence: state [h, v, k]; q, k [h, k]; v [h, v]; decay, beta [h]."""
    decayed = state * decay[:, None, None]
    old = (state if knobs.rule == "undecayed" else decayed) @ k[..., None]
    delta = v if knobs.rule == "plain" else v - old[..., 0]
    if knobs.rule == "beta-on-v":
        delta = v * beta[:, None] - old[..., 0]
    elif knobs.rule != "no-beta":
        delta = delta * beta[:, None]
    new = decayed + delta[..., None] * k[:, None, :]
    if knobs.order == "decay-last":
        new = (state + delta[..., None] * k[:, None, :]) * decay[:, None, None]
    read = {"new": new, "old": state, "decayed": decayed}[knobs.read]
    return new, (read @ q[..., None])[..., 0]


def _results(
    definition: Definition, inputs: Inputs, output: torch.Tensor, state: torch.Tensor,
    finals: list[torch.Tensor], lengths: list[int], knobs: Knobs,
) -> Tensors:  # fmt: skip
    import torch

    new = torch.stack(finals) if finals else state
    new = {"new": new, "old": state, "zero": torch.zeros_like(new)}.get(knobs.state_out, new)
    if knobs.state_out == "transposed" and new.shape[-1] == new.shape[-2]:
        new = new.transpose(-1, -2)
    kind = inputs["q"].dtype
    if "initial_state" in inputs:
        return _mtp(inputs, output.to(kind), new, knobs)
    if "cu_seqlens" in inputs:
        flat = torch.zeros_like(inputs["v"])
        offsets = inputs["cu_seqlens"].tolist()
        for number, length in enumerate(lengths):
            flat[offsets[number] : offsets[number] + length] = output[number, :length].to(kind)
        output = flat
    names = list(definition.outputs)
    return {names[0]: output.to(kind), names[1]: new}


def _mtp(inputs: Inputs, output: torch.Tensor, new: torch.Tensor, knobs: Knobs) -> Tensors:
    slots, pool = inputs["initial_state_indices"].long(), inputs["initial_state"].clone()
    if knobs.pads == "zero":
        output = output.masked_fill((slots < 0)[:, None, None, None], 0.0)
    if knobs.pool == "updated":
        used = slots >= 0
        pool[slots[used]] = new[used].to(pool.dtype)
    elif knobs.state_out == "transposed":
        pool = pool.transpose(-1, -2)
    return {"output": output, "final_state": pool}


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Masks over tokens (prefill) or requests."""
    return dict(_groups(inputs))


def _groups(inputs: Inputs) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    if "cu_seqlens" in inputs:
        offsets = inputs["cu_seqlens"].cpu().long()
        rows = torch.zeros(len(inputs["q"]), dtype=torch.bool)
        first, later = rows.clone(), rows.clone()
        first[offsets[:-1][torch.diff(offsets) > 0]] = True
        if len(offsets) > 2:
            later[int(offsets[1]) :] = True
        yield "first tokens of sequences", first
        yield "tokens behind the first of their sequence", ~first
        yield "sequences behind the first", later
    elif "initial_state_indices" in inputs:
        yield "requests of padded slots", (inputs["initial_state_indices"] < 0).cpu()
