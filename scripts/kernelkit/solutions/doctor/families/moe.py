"""Mixtures of experts with knobs: routing, dequantisation, and the experts' MLP.

Experts are computed one by one, so that only one of them is held in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.ops.moe.forms import BLOCK, Form, form_of
from kernelkit.ops.moe.names import shared
from kernelkit.solutions.doctor.families import routing
from kernelkit.solutions.doctor.families.moe_mutants import mutants

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

__all__ = ["groups", "mutants", "run"]


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    routing: routing.Knobs = routing.Knobs()
    rows: str = "up-gate"  # up-gate, gate-up, interleaved
    activation: str = "silu"  # silu, gelu, gelu-tanh, relu, none, swish-all
    act_scale: str = "right"  # of activations: right, none, reinterpreted, first
    w1_scale: str = "right"  # right, none, transposed, divided
    w2_scale: str = "right"
    up_scale: str = "right"  # per tensor: right, none, swapped
    out_scale: str = "right"  # per tensor: right, none
    weight_on: str = "right"  # output, input
    local: str = "right"  # right, offset-ignored


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """The output [tokens, hidden]."""
    import torch

    form, inputs = form_of(definition), shared(inputs)
    turned = Knobs(**{k: v for k, v in knobs.items() if k in Knobs.__dataclass_fields__})
    names = routing.Knobs.__dataclass_fields__
    turned = replace(turned, routing=routing.Knobs(**{k: knobs[k] for k in knobs if k in names}))
    chosen, weights = routing.route(form, inputs, turned.routing)
    x = _hidden(inputs, turned)
    output = torch.zeros_like(x)
    offset = 0 if turned.local == "offset-ignored" else int(inputs.get("local_expert_offset", 0))
    on_input = (turned.weight_on == "right" and _on_input(form)) or turned.weight_on == "input"
    for expert in range(inputs["gemm1_weights"].shape[0]):
        tokens, places = torch.nonzero(chosen == expert + offset, as_tuple=True)
        if not len(tokens):
            continue
        weight = weights[tokens, places][:, None]
        rows = x[tokens] * weight if on_input else x[tokens]
        out = _expert(inputs, expert, rows, turned)
        output[tokens] += out if on_input else out * weight  # a token is there once
    return {"output": output.to(torch.bfloat16)}


def _on_input(form: Form) -> bool:
    """Whether the routing weight multiplies the expert's input: per-tensor scales with llama4."""
    return form.kind == "fp8_per_tensor" and form.routing == "llama4"


def _hidden(inputs: Inputs, knobs: Knobs) -> torch.Tensor:
    """Dequantised activations; their scales are [hidden blocks, tokens]."""
    x, scale = inputs["hidden_states"].float(), inputs.get("hidden_states_scale")
    if scale is None or knobs.act_scale == "none":
        return x
    by_token = scale.t()
    if knobs.act_scale == "reinterpreted":  # the same memory, read as [tokens, blocks]
        by_token = scale.contiguous().view(scale.shape[1], scale.shape[0])
    elif knobs.act_scale == "first":
        by_token = by_token[:, :1].expand_as(by_token)
    return x * by_token.repeat_interleave(BLOCK, dim=1)


def _expert(inputs: Inputs, expert: int, rows: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    w1 = _weights(inputs, "gemm1_weights", expert, knobs.w1_scale)
    both = rows @ w1.t()
    half = both.shape[1] // 2
    if knobs.rows == "interleaved":
        up, gate = both[:, 0::2], both[:, 1::2]
    else:
        up, gate = both[:, :half], both[:, half:]
        if knobs.rows == "gate-up":
            up, gate = gate, up
    up, gate = _tensor_scales(inputs, expert, up, gate, knobs)
    inner = _activated(gate, knobs.activation) * up
    if knobs.activation == "up-only":
        inner = up
    out = inner @ _weights(inputs, "gemm2_weights", expert, knobs.w2_scale).t()
    if "output2_scales_scalar" in inputs and knobs.out_scale == "right":
        out = out * inputs["output2_scales_scalar"][expert]
    return out


def _tensor_scales(
    inputs: Inputs, expert: int, up: torch.Tensor, gate: torch.Tensor, knobs: Knobs
) -> tuple[torch.Tensor, torch.Tensor]:
    if "output1_scales_scalar" not in inputs or knobs.up_scale == "none":
        return up, gate
    names = ["output1_scales_scalar", "output1_scales_gate_scalar"]
    if knobs.up_scale == "swapped":
        names.reverse()
    elif knobs.up_scale == "same":
        names = [names[0], names[0]]
    return up * inputs[names[0]][expert], gate * inputs[names[1]][expert]


def _activated(gate: torch.Tensor, kind: str) -> torch.Tensor:
    import torch

    functional = torch.nn.functional
    if kind in ("gelu", "gelu-tanh"):
        return functional.gelu(gate, approximate="tanh" if kind == "gelu-tanh" else "none")
    if kind == "relu":
        return torch.relu(gate)
    if kind == "sigmoid":
        return torch.sigmoid(gate)
    return functional.silu(gate) if kind == "silu" else gate


def _weights(inputs: Inputs, name: str, expert: int, how: str) -> torch.Tensor:
    """One expert's matrix, dequantised by the scale of each BLOCK x BLOCK."""
    weight, scales = inputs[name][expert].float(), inputs.get(f"{name}_scale")
    if scales is None or how == "none":
        return weight
    scale = scales[expert]
    if how == "transposed":
        scale = scale.contiguous().view(scale.shape[1], scale.shape[0]).t()
    elif how == "first-expert":
        scale = scales[0]
    full = scale.repeat_interleave(BLOCK, dim=0).repeat_interleave(BLOCK, dim=1)
    return weight / full if how == "divided" else weight * full


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Tokens whose experts are all on another rank."""
    form, inputs = form_of(definition), shared(inputs)
    chosen, _ = routing.route(form, inputs, routing.Knobs())
    first = int(inputs.get("local_expert_offset", 0))
    here = (chosen >= first) & (chosen < first + inputs["gemm1_weights"].shape[0])
    return {"tokens without an expert at hand": ~here.any(dim=1).cpu()}
