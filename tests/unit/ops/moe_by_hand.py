"""Routed experts by hand: float64 loops over tokens and experts, and small definitions to try."""

from __future__ import annotations

import math
from typing import Any

import torch
from oracle import execute

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family
from kernelkit.ops.moe.forms import ROUTINGS
from kernelkit.ops.moe.names import shared

OP: Any = family("moe")
TOKENS = 9
HIDDEN, INNER = 256, 128
KINDS = [(kind, routing) for kind, routings in ROUTINGS.items() for routing in routings]
PARTED = [kind for kind in KINDS if kind[0] != "bf16"]  # a rank may hold a part of the experts


def small(kind: str, routing: str | None, **changes: int) -> Definition:
    """16 experts of 256 x 128; top-3 but for llama4; DeepSeek keeps 2 of 4 groups."""
    constants = {"num_experts": 16, "top_k": 1 if routing == "llama4" else 3}
    constants |= {"hidden_size": HIDDEN, "intermediate_size": INNER}
    if routing == "ds":
        constants |= {"n_group": 4, "topk_group": 2}
    return OP.definition(kind, routing, **(constants | changes))


def made(definition: Definition, seed: int = 0, **given: Any) -> dict[str, Any]:
    """Inputs for TOKENS tokens."""
    return OP.make_inputs(definition, {"seq_len": TOKENS}, seed, given=given)


def run(definition: Definition, inputs: dict[str, Any]) -> torch.Tensor:
    """The output of the definition's text: bfloat16, finite."""
    (output,) = execute(definition, inputs)
    assert output.dtype == torch.bfloat16 and output.isfinite().all()
    return output


def highest(scores: list[float], count: int) -> list[int]:
    """Positions of the `count` highest scores, the first where they tie."""
    return sorted(range(len(scores)), key=lambda e: (-scores[e], e))[:count]


def softmax(values: list[float]) -> list[float]:
    """Textbook softmax."""
    exps = [math.exp(v - max(values)) for v in values]
    return [e / sum(exps) for e in exps]


def sigmoid(x: float) -> float:
    """Textbook sigmoid that does not overflow."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def route(
    routing: str, top_k: int, logits: list[float], bias: list[float], factor: float
) -> dict[int, float]:
    """Expert -> weight of one token, but for DeepSeek's routing."""
    scores = [x + b for x, b in zip(logits, bias, strict=True)]
    chosen = highest(scores, top_k)
    share = softmax(scores)
    weights = {
        "renorm": softmax([scores[e] for e in chosen]),
        "default": [share[e] for e in chosen],
        "renorm_naive": [share[e] / sum(share[c] for c in chosen) for e in chosen],
        "llama4": [sigmoid(scores[e]) for e in chosen],
        "topk": [1 / top_k] * top_k,
    }[routing]
    return {e: w * factor for e, w in zip(chosen, weights, strict=True)}


def route_ds(
    top_k: int, groups: int, kept: int, logits: list[float], bias: list[float], factor: float
) -> dict[int, float]:
    """Expert -> weight of one token by DeepSeek-V3's rule."""
    scores = [sigmoid(x) for x in logits]
    biased = [s + b for s, b in zip(scores, bias, strict=True)]
    size = len(scores) // groups
    totals = [sum(sorted(biased[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
    best = highest(totals, kept)
    open_to = [e for e in range(len(scores)) if e // size in best]
    chosen = [open_to[i] for i in highest([biased[e] for e in open_to], top_k)]
    total = sum(scores[e] for e in chosen) + 1e-20
    return {e: scores[e] / total * factor for e in chosen}


def routes(definition: Definition, routing: str | None, inputs: dict[str, Any]) -> list[dict]:
    """Expert -> weight of every token."""
    if "token_selected_experts" in inputs:
        chosen, factors = inputs["token_selected_experts"], inputs["token_final_scales"]
        pairs = zip(chosen.tolist(), factors.tolist(), strict=True)
        return [dict(zip(*row, strict=True)) for row in pairs]
    if routing is None:
        pairs = inputs["topk_ids"].tolist()
        return [{p >> 16: bfloat(p & 0xFFFF) for p in row} for row in pairs]
    logits, top_k = inputs["routing_logits"].double(), definition.const_axes["top_k"]
    bias = inputs.get("routing_bias", torch.zeros(logits.shape[1])).double().tolist()
    factor = inputs.get("routed_scaling_factor", 1.0)
    if routing == "ds":
        return [route_ds(top_k, 4, 2, row, bias, factor) for row in logits.tolist()]
    return [route(routing, top_k, row, bias, factor) for row in logits.tolist()]


def bfloat(bits: int) -> float:
    """The value of a bfloat16's bits."""
    sign, exponent, fraction = bits >> 15, bits >> 7 & 0xFF, bits & 0x7F
    return (-1) ** sign * 2.0 ** (exponent - 127) * (1 + fraction / 128)


def scaled(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Values of [R, C] times the scale of their 128 x 128 block, one element at a time."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in values.shape), indexing="ij")
    return values.double() * scale.double()[rows // 128, columns // 128]


def expect(definition: Definition, routing: str | None, inputs: dict[str, Any]) -> torch.Tensor:
    """The sum over each token's local experts, in float64."""
    chosen = routes(definition, routing, inputs)
    inputs = shared(inputs)
    w13, w2 = inputs["gemm1_weights"].double(), inputs["gemm2_weights"].double()
    x = inputs["hidden_states"].double()
    if "hidden_states_scale" in inputs:
        x = x * inputs["hidden_states_scale"].double().T.repeat_interleave(128, 1)
        w13 = torch.stack(list(map(scaled, w13, inputs["gemm1_weights_scale"])))
        w2 = torch.stack(list(map(scaled, w2, inputs["gemm2_weights_scale"])))
    ones = torch.ones(len(w13))
    up_scale = inputs.get("output1_scales_scalar", ones).double()
    gate_scale = inputs.get("output1_scales_gate_scalar", ones).double()
    out_scale = inputs.get("output2_scales_scalar", ones).double()
    on_input = "output1_scales_scalar" in inputs and routing == "llama4"
    output = torch.zeros_like(x)
    for t, weights in enumerate(chosen):
        for expert, weight in weights.items():
            e = expert - inputs.get("local_expert_offset", 0)
            if not 0 <= e < len(w13):
                continue
            row = x[t] * weight if on_input else x[t]
            up = w13[e][:INNER] @ row * up_scale[e]
            gate = w13[e][INNER:] @ row * gate_scale[e]
            y = w2[e] @ (gate / (1 + torch.exp(-gate)) * up) * out_scale[e]
            output[t] += y if on_input else y * weight
    return output


def assert_close(got: torch.Tensor, want: torch.Tensor) -> None:
    """One rounding to bfloat16."""
    torch.testing.assert_close(got.double(), want, atol=1e-4, rtol=5e-3)


def per_expert(name: str) -> bool:
    """Whether an input has a row for each expert."""
    return name.startswith(("gemm", "fc", "output"))
