"""Which experts a token goes to and with which weights, with knobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.ops.base import Inputs
from kernelkit.ops.moe.forms import Form

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    weights_kind: str = "right"  # or another routing's weights, see _weights
    bias: str = "right"  # ds: right (selects only), weights, ignored; others: right, ignored
    grouping: str = "right"  # ds: right, none, by-maximum, by-mean, masked-with-zero
    normalise: bool = True  # ds, renorm_naive
    factor: str = "right"  # ds: right, lost, twice
    scores: str = "sigmoid"  # ds: sigmoid, softmax, logits
    order: str = "right"  # right, reversed weights, ascending (lowest experts)
    count: int = 0  # added to top_k


def route(form: Form, inputs: Inputs, knobs: Knobs) -> tuple[torch.Tensor, torch.Tensor]:
    """Experts and weights, [tokens, top_k] each."""
    import torch

    if "topk_ids" in inputs:
        chosen, weights = _given(inputs["topk_ids"], knobs)
    elif "token_selected_experts" in inputs:
        chosen, weights = inputs["token_selected_experts"].long(), inputs["token_final_scales"]
        weights = torch.ones_like(weights) if knobs.weights_kind == "one" else weights
    elif form.routing == "ds":
        chosen, weights = _grouped(form, inputs, knobs)
    else:
        chosen, weights = _plain(form, inputs, knobs)
    if knobs.order == "reversed":
        weights = weights.flip(1)
    return chosen, weights


def _given(ids: torch.Tensor, knobs: Knobs) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    weights = (ids << 16).view(torch.float32)
    if knobs.weights_kind == "one":
        weights = torch.ones_like(weights)
    elif knobs.weights_kind == "float16-bits":
        weights = ids.to(torch.int16).view(torch.float16).float()
    return (ids >> 16).long(), weights


def _best(scores: torch.Tensor, count: int, *, lowest: bool = False) -> torch.Tensor:
    return scores.sort(dim=1, descending=not lowest, stable=True).indices[:, :count]


def _plain(form: Form, inputs: Inputs, knobs: Knobs) -> tuple[torch.Tensor, torch.Tensor]:
    logits = inputs["routing_logits"].float()
    if "routing_bias" in inputs and knobs.bias != "ignored":
        logits = logits + inputs["routing_bias"].float()
    count = max(1, form.top_k + knobs.count)
    chosen = _best(logits, count, lowest=knobs.order == "ascending")
    kind = form.routing if knobs.weights_kind == "right" else knobs.weights_kind
    return chosen, _weights(logits, chosen, str(kind))


def _weights(logits: torch.Tensor, chosen: torch.Tensor, kind: str) -> torch.Tensor:
    import torch

    values = logits.gather(1, chosen)
    share = torch.softmax(logits, dim=1).gather(1, chosen)
    scores = torch.sigmoid(values)
    return {
        "renorm": torch.softmax(values, dim=1), "default": share,
        "renorm_naive": share / share.sum(dim=1, keepdim=True), "llama4": scores,
        "topk": torch.full_like(values, 1.0 / chosen.shape[1]), "one": torch.ones_like(values),
        "logits": values, "sigmoid-renorm": scores / scores.sum(dim=1, keepdim=True),
    }[kind]  # fmt: skip


def _grouped(form: Form, inputs: Inputs, knobs: Knobs) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    logits, bias = inputs["routing_logits"].float(), inputs["routing_bias"].float()
    scores = {
        "sigmoid": torch.sigmoid, "softmax": lambda x: torch.softmax(x, dim=1),
        "logits": lambda x: x,
    }[knobs.scores](logits)  # fmt: skip
    biased = scores if knobs.bias == "ignored" else scores + bias
    chosen = _best(_kept(form, biased, knobs), max(1, form.top_k + knobs.count),
                   lowest=knobs.order == "ascending")  # fmt: skip
    weights = (biased if knobs.bias == "weights" else scores).gather(1, chosen)
    if knobs.normalise:
        weights = weights / (weights.sum(dim=1, keepdim=True) + 1e-20)
    factor = float(inputs["routed_scaling_factor"])
    if knobs.weights_kind == "one":
        weights = torch.ones_like(weights)
    return chosen, weights * {"right": factor, "lost": 1.0, "twice": factor**2}[knobs.factor]


def _kept(form: Form, biased: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """The scores with those of experts outside the best groups at the bottom."""
    if knobs.grouping == "none":
        return biased
    groups = biased.unflatten(1, (form.n_group, -1))
    best = 1 if knobs.grouping == "by-maximum" else min(2, groups.shape[2])
    strength = groups.topk(best, dim=2).values.sum(dim=2)
    if knobs.grouping == "by-mean":
        strength = groups.mean(dim=2)
    kept = strength.new_zeros(strength.shape).scatter(1, _best(strength, form.topk_group), 1.0)
    if knobs.grouping == "masked-with-zero":
        return (groups * kept[:, :, None]).flatten(1)
    return groups.masked_fill(kept[:, :, None] == 0, -1e30).flatten(1)
