"""Mamba-2's selective state update, with knobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.doctor.mutant import Mutant, table

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    bias: bool = True
    softplus: bool = True
    rate: str = "A"  # A, exp (-exp(A)), positive, base-2
    groups: str = "interleave"  # interleave, tile, first
    swap_bc: bool = False
    skip: str = "D"  # D, none, one
    input_step: bool = True  # x is multiplied by dt
    decay: bool = True
    slots: str = "given"  # given, row
    read: str = "new"  # new, old
    out: str = "new"  # new, old, rows-only (unused slots zero)
    pads: str = "zero"  # zero, computed


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """output and new_state."""
    import torch

    turned = Knobs(**knobs)
    x, step = inputs["x"].float(), _step(inputs, turned)
    pool, slots = inputs["state"], inputs["state_batch_indices"].long()
    used = slots >= 0
    where = torch.arange(len(slots), device=slots.device) if turned.slots == "row" else slots
    b, c = (_by_head(inputs[name].float(), x.shape[1], turned.groups) for name in ("B", "C"))
    if turned.swap_bc:
        b, c = c, b
    old = pool[where.clamp(min=0) % len(pool)].float()
    fresh = (step * x if turned.input_step else x)[..., None] * b[:, :, None, :]
    new = old * _decay(inputs, step, turned) + fresh
    y = ((old if turned.read == "old" else new) * c[:, :, None, :]).sum(dim=-1)
    if turned.skip != "none":
        y = y + (x * inputs["D"].float() if turned.skip == "D" else x)
    if turned.pads == "zero":
        y = y.masked_fill(~used[:, None, None], 0.0)
    result = torch.zeros_like(pool) if turned.out == "rows-only" else pool.clone()
    if turned.out != "old":
        result[where[used] % len(pool)] = new[used].to(pool.dtype)
    return {"output": y.to(inputs["x"].dtype), "new_state": result}


def _step(inputs: Inputs, knobs: Knobs) -> torch.Tensor:
    import torch

    step = inputs["dt"].float()
    if knobs.bias:
        step = step + inputs["dt_bias"].float()
    return torch.nn.functional.softplus(step) if knobs.softplus else step


def _decay(inputs: Inputs, step: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    import torch

    a = inputs["A"].float()
    if not knobs.decay:
        return torch.ones_like(a[None] * step[..., None])
    if knobs.rate == "exp":
        a = -torch.exp(a)
    elif knobs.rate == "positive":
        a = -a
    power = torch.exp2 if knobs.rate == "base-2" else torch.exp
    return power(a * step[..., None])


def _by_head(x: torch.Tensor, heads: int, how: str) -> torch.Tensor:
    """[batch, groups, n] for each head."""
    group = heads // x.shape[1]
    if how == "tile":
        return x.repeat(1, group, 1)
    return x[:, :1].expand(-1, heads, -1) if how == "first" else x.repeat_interleave(group, dim=1)


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    return table(_ROWS)


_RULE = "S = S * exp(A * dt) + (dt * x) B; y = S C + x * D, with dt = softplus(dt + dt_bias)"
_ROWS = [
    ("dt-bias-missing", "dt_bias is not added", _RULE, {"bias": False}),
    ("dt-softplus-missing", "dt does not go through softplus", _RULE, {"softplus": False}),
    ("A-taken-for-A-log", "A goes through -exp once more", "A is negative already: exp(A * dt)",
     {"rate": "exp"}),
    ("A-sign", "the decay is exp(-A * dt), above 1", "A is negative already: exp(A * dt)",
     {"rate": "positive"}),
    ("decay-base-2", "the decay is a power of 2", _RULE, {"rate": "base-2"}),
    ("decay-missing", "the state does not decay", _RULE, {"decay": False}),
    ("skip-missing", "x * D is not added", _RULE, {"skip": "none"}),
    ("skip-without-D", "x is added without D", _RULE, {"skip": "one"}),
    ("dt-missing-in-input", "x B is not multiplied by dt", _RULE, {"input_step": False}),
    ("groups-repeat-for-interleave", "head h uses group h % ngroups (repeat, tile)",
     "group is h // (nheads // ngroups): repeat_interleave", {"groups": "tile"}),
    ("groups-first", "all heads use group 0", "group is h // (nheads // ngroups)",
     {"groups": "first"}),
    ("bc-swapped", "B and C are swapped", "pass B, then C", {"swap_bc": True}),
    ("slots-ignored", "request i uses slot i", "use state_batch_indices[request]",
     {"slots": "row"}),
    ("output-of-old-state", "y reads the state before the update", _RULE, {"read": "old"}),
    ("state-not-updated", "the pool that came in is returned", "write the new states",
     {"out": "old"}),
    ("unused-slots-lost", "slots that no request uses are zero in the pool that is returned",
     "start from a copy of the pool", {"out": "rows-only"}),
    ("padded-slots-computed", "requests of slots below 0 get an output", "their output is 0",
     {"pads": "computed"}),
]  # fmt: skip


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Requests of padded slots; rows of the pool are slots, not requests."""
    return {"requests of padded slots": (inputs["state_batch_indices"] < 0).cpu()}
