"""Bytes and FLOPs of experts: what a call computes depends on which experts its tokens chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.ops import base
from kernelkit.ops.base import Axes, Cost, Inputs
from kernelkit.ops.moe.forms import Form, form_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Load:
    """Pairs of a token and a local expert, and the local experts that have any token."""

    pairs: float
    experts: float


def cost_of(definition: Definition, axes: Axes, inputs: Inputs | None) -> Cost:
    """6 H I FLOPs a pair (three products); the weights of experts without tokens are not read."""
    form = form_of(definition)
    load = expected_load(form, axes["seq_len"]) if inputs is None else actual_load(form, inputs)
    names = [*definition.inputs, *definition.outputs]
    held = [name for name in names if _per_expert(definition, name)]
    weights = sum(base.tensor_bytes(definition, name, axes) for name in held)
    rest = sum(base.tensor_bytes(definition, name, axes) for name in names if name not in held)
    moved = rest + weights * load.experts / form.num_local_experts
    return Cost(moved, 6.0 * load.pairs * form.hidden_size * form.intermediate_size)


def _per_expert(definition: Definition, name: str) -> bool:
    """Weights and their scales: what is read for the experts in use only."""
    return name.startswith(("gemm", "fc", "output1", "output2"))


def expected_load(form: Form, tokens: int) -> Load:
    """For uniform routing: each expert has a token's choice with probability top_k / E, so that
    it is idle with (1 - top_k / E) ^ tokens."""
    share = form.top_k / form.num_experts
    local = form.num_local_experts
    return Load(tokens * share * local, local * (1.0 - (1.0 - share) ** tokens))


def actual_load(form: Form, inputs: Inputs) -> Load:
    """Counted in a call's inputs."""
    local = chosen_experts(form, inputs) - int(inputs.get("local_expert_offset", 0))
    local = local[(local >= 0) & (local < form.num_local_experts)]
    return Load(float(local.numel()), float(local.unique().numel()))


def chosen_experts(form: Form, inputs: Inputs) -> torch.Tensor:
    """The experts of each token, [tokens, top_k]: all routings but DeepSeek's take the highest
    logits, as softmax and sigmoid keep their order."""
    if "topk_ids" in inputs:
        return inputs["topk_ids"] >> 16
    if "token_selected_experts" in inputs:
        return inputs["token_selected_experts"]
    scores = inputs["routing_logits"].float()
    if form.routing == "ds":
        scores = scores.sigmoid()
    if "routing_bias" in inputs:
        scores = scores + inputs["routing_bias"].float()
    groups = scores.unflatten(1, (form.n_group, -1))
    if form.topk_group < form.n_group:
        best = groups.topk(min(2, groups.shape[2]), dim=2).values.sum(dim=2)
        dropped = best.argsort(dim=1, descending=True, stable=True)[:, form.topk_group :]
        groups = groups.scatter(1, dropped[:, :, None].expand(-1, -1, groups.shape[2]), -1e30)
    return groups.flatten(1).argsort(dim=1, descending=True, stable=True)[:, : form.top_k]
