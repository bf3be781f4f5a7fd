"""Awkward calls of experts in 16 bits whose routing is given; see fast_inputs.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from fast_inputs import Case, plain

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family

SELECTED, WEIGHTS = "token_selected_experts", ("fc1_expert_weights", "fc2_expert_weights")


def definition_of(experts: int, top_k: int, hidden: int, width: int) -> Definition:
    """Experts of hidden x width, top_k of them a token."""
    return family("moe").definition("bf16", None, num_experts=experts, top_k=top_k,
                                    hidden_size=hidden, intermediate_size=width)  # fmt: skip


def moe_bf16(device: str) -> Iterator[Case]:
    """Sizes that no block divides, no tokens, one and many; one expert for all; numbers that are no
    expert's; a token that names an expert twice; NaN in experts that nobody chose."""
    shapes, counts = ((5, 2, 72, 40), (4, 3, 32, 136)), (0, 1, 17)
    if device != "cpu":
        shapes = ((128, 8, 2048, 768), (64, 6, 2048, 1408), (16, 2, 200, 104), (300, 10, 512, 72))
        counts = (0, 1, 7, 64, 700, 5000)
    for shape in shapes:
        definition = definition_of(*shape)
        for tokens in counts:
            inputs = plain(definition, {"seq_len": tokens}, device)
            yield f"{tokens} tokens", definition, inputs
        for label, experts in awkward(inputs[SELECTED], shape[0]):
            yield f"{tokens} tokens, {label}", definition, chosen(inputs, experts)
    if device != "cpu":
        yield from far(device)


def awkward(experts: torch.Tensor, count: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Other choices of [tokens, top_k] experts, by name."""
    k = torch.arange(experts.shape[1], device=experts.device)
    yield "one expert first", torch.where(k == 0, 2, (experts + 3) % count)
    yield "the same experts", (k + count - 1).expand_as(experts) % count
    yield "one twice", torch.where(k < 2, experts[:, :1], experts)
    yield "some elsewhere", torch.where((experts + k) % 2 == 0, experts, experts - 2 * count)
    yield "numbers too large", torch.where(experts % 3 == 0, experts + count, 1 << 30)
    yield "all elsewhere", torch.full_like(experts, -1)


def chosen(inputs: dict[str, Any], experts: torch.Tensor) -> dict[str, Any]:
    """The inputs with these experts; NaN in the weights of others, and as factors of none."""
    changed = {**inputs, SELECTED: experts.to(torch.int32).contiguous()}
    count = len(inputs[WEIGHTS[0]])
    used = torch.zeros(count, dtype=torch.bool, device=experts.device)
    here = (experts >= 0) & (experts < count)
    used[experts[here].long()] = True
    for name in WEIGHTS:
        changed[name] = inputs[name].masked_fill(~used[:, None, None], math.nan)
    changed["token_final_scales"] = inputs["token_final_scales"].masked_fill(~here, math.nan)
    return changed


def far(device: str) -> Iterator[Case]:
    """Offsets above 2^31: of weights (their experts repeat), and of rows."""
    definition, repeated = definition_of(160, 8, 4096, 2048), definition_of(7, 2, 4096, 2048)
    inputs = plain(definition_of(160, 8, 128, 128), {"seq_len": 20}, device)
    few = plain(repeated, {"seq_len": 20}, device)
    many = torch.arange(160, device=device) % 7
    inputs |= {"input": few["input"], **{name: few[name][many] for name in WEIGHTS}}
    yield "weights above 2^31", definition, inputs
    definition = definition_of(8, 8, 4096, 64)
    yield "rows above 2^31", definition, plain(definition, {"seq_len": 66000}, device)
