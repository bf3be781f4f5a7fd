"""Wrong and right kernels of the moe family, in all its kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from kernelkit.dataset.definition import Definition
from kernelkit.ops.moe.forms import BLOCK, form_of
from kernelkit.ops.moe.names import shared

FP8_MAX = 448.0


@dataclass(frozen=True)
class Experts:
    """A mixture of experts, right unless a flaw is set.

    `low_bits` rounds what enters the second GEMM to float8 (bfloat16 where weights are float4 or
    bfloat16), as kernels do, and takes the later of tied experts: right.
    """

    definition: Definition
    low_bits: bool = False
    biased_weights: bool = False
    no_bias: bool = False
    swapped: bool = False  # gate and up
    fewer: int = 0  # experts of a token that are left out, the last ones
    capacity: float = 0.0  # tokens of one expert, as a share of all; those beyond are dropped
    no_factor: bool = False
    even: bool = False  # all experts of a token weigh the same
    transposed: bool = False  # scales of square blocks
    token_scale: bool = False  # the scale of the first token's block for all
    gain: float = 1.0
    dropped_token: bool = False  # the last expert of the last token
    no_groups: bool = False
    neighbour: bool = False  # weights of the next expert
    unit_scales: bool = False

    def __call__(self, *arguments: Any) -> torch.Tensor:
        """output [tokens, hidden]."""
        x = shared(dict(zip(self.definition.inputs, arguments, strict=True)))
        chosen, weights = self._route(x)
        hidden = x["hidden_states"].float()
        if "hidden_states_scale" in x:
            scale = x["hidden_states_scale"].T
            scale = scale[:1].expand_as(scale) if self.token_scale else scale
            hidden = hidden * scale.repeat_interleave(BLOCK, dim=1)
        output = torch.zeros_like(hidden)
        first, count = int(x.get("local_expert_offset", 0)), len(x["gemm1_weights"])
        for e in range(count):
            tokens, places = (chosen == first + e).nonzero(as_tuple=True)
            if self.capacity:
                most = max(1, int(self.capacity * len(hidden)))
                tokens, places = tokens[:most], places[:most]
            if len(tokens):
                weight = weights[tokens, places, None]
                which = (e + 1) % count if self.neighbour else e
                output.index_add_(0, tokens, self._expert(x, which, hidden[tokens], weight))
        return (output * self.gain).to(torch.bfloat16)

    def _expert(
        self, x: dict[str, Any], e: int, rows: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        inside = form_of(self.definition).routing == "llama4" and "output1_scales_scalar" in x
        up, gate = (
            (rows * weight if inside else rows) @ self._weights(x, "gemm1_weights", e).T
        ).chunk(2, dim=1)
        if self.swapped:
            up, gate = gate, up
        if "output1_scales_scalar" in x and not self.unit_scales:
            up, gate = (
                up * x["output1_scales_scalar"][e],
                gate * x["output1_scales_gate_scalar"][e],
            )
        inner = self._round(torch.nn.functional.silu(gate) * up)
        y = inner @ self._weights(x, "gemm2_weights", e).T
        if "output2_scales_scalar" in x:
            y = y * x["output2_scales_scalar"][e]
        return y if inside else y * weight

    def _round(self, inner: torch.Tensor) -> torch.Tensor:
        if not self.low_bits:
            return inner
        if "hidden_states_scale" in self.definition.inputs:
            blocks = inner.unflatten(1, (-1, BLOCK))
            scale = blocks.abs().amax(dim=2, keepdim=True).clamp(min=1e-20) / FP8_MAX
            return ((blocks / scale).to(torch.float8_e4m3fn).float() * scale).flatten(1)
        if "output1_scales_scalar" in self.definition.inputs:
            return inner.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn).float()
        return inner.to(torch.bfloat16).float()

    def _weights(self, x: dict[str, Any], name: str, e: int) -> torch.Tensor:
        weight = x[name][e].float()
        if f"{name}_scale" not in x:
            return weight
        scale = x[f"{name}_scale"][e]
        if self.transposed:
            scale = scale.T.reshape(scale.shape)
        wide = scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
        return weight * (wide.mean() if self.unit_scales else wide)

    def _route(self, x: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        form = form_of(self.definition)
        if "topk_ids" in x:
            chosen, weights = x["topk_ids"] >> 16, (x["topk_ids"] << 16).view(torch.float32)
        elif "token_selected_experts" in x:
            chosen, weights = x["token_selected_experts"], x["token_final_scales"]
        elif form.routing == "ds":
            chosen, weights = self._deepseek(x)
        else:
            chosen, weights = self._plain(x)
        if self.even:
            weights = weights.mean(dim=1, keepdim=True).expand_as(weights)
        if self.fewer or self.dropped_token:
            weights = weights.clone()
            weights[:, weights.shape[1] - self.fewer :] = 0.0
            if self.dropped_token:
                weights[-1, -1] = 0.0
        return chosen, weights

    def _plain(self, x: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        form = form_of(self.definition)
        logits = x["routing_logits"].float()
        if "routing_bias" in x and not self.no_bias:
            logits = logits + x["routing_bias"].float()
        chosen = self._top(logits, form.top_k)
        values = logits.gather(1, chosen)
        if form.routing == "llama4":
            return chosen, values.sigmoid()
        if form.routing == "topk":
            return chosen, torch.full_like(values, 1 / form.top_k)
        if form.routing == "default":
            return chosen, logits.softmax(dim=1).gather(1, chosen)
        return chosen, values.softmax(dim=1)

    def _deepseek(self, x: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        form = form_of(self.definition)
        scores = x["routing_logits"].float().sigmoid()
        biased = scores if self.no_bias else scores + x["routing_bias"].float()
        groups = biased.unflatten(1, (form.n_group, -1))
        best = groups.topk(min(2, groups.shape[2]), dim=2).values.sum(dim=2)
        kept = torch.zeros_like(best, dtype=torch.bool)
        kept.scatter_(1, self._top(best, form.topk_group), True)
        allowed = biased if self.no_groups else groups.masked_fill(
            ~kept[:, :, None], -1e30
        ).flatten(1)  # fmt: skip
        chosen = self._top(allowed, form.top_k)
        weights = (biased if self.biased_weights else scores).gather(1, chosen)
        weights = weights / (weights.sum(dim=1, keepdim=True) + 1e-20)
        return chosen, weights * (1.0 if self.no_factor else float(x["routed_scaling_factor"]))

    def _top(self, scores: torch.Tensor, count: int) -> torch.Tensor:
        if not self.low_bits:
            return scores.sort(dim=1, descending=True, stable=True).indices[:, :count]
        order = scores.flip(1).sort(dim=1, descending=True, stable=True).indices[:, :count]
        return scores.shape[1] - 1 - order


def flaws(definition: Definition) -> dict[str, dict[str, Any]]:
    """Name -> the fields of a wrong kernel."""
    form = form_of(definition)
    found: dict[str, dict[str, Any]] = {
        "gate and up swapped": {"swapped": True},
        "times 1.02": {"gain": 1.02},
        "weights of the next expert": {"neighbour": True},
        "experts hold half of the tokens": {"capacity": 0.5},
        "an expert of the last token dropped": {"dropped_token": True},
    }
    if form.top_k > 1:
        found["last expert left out"] = {"fewer": 1}
    if form.top_k > 1 and form.routing != "topk":
        found["even weights"] = {"even": True}
    if "routing_bias" in definition.inputs:
        found["bias ignored"] = {"no_bias": True}
    if form.routing == "ds":
        found["bias in the weights"] = {"biased_weights": True}
        found["scaling factor left out"] = {"no_factor": True}
        found["groups ignored"] = {"no_groups": True}
    if "hidden_states_scale" in definition.inputs:
        found["scales transposed"] = {"transposed": True}
        found["scale of the first token for all"] = {"token_scale": True}
    if any("scale" in name for name in definition.inputs if name != "token_final_scales"):
        found["scales ignored"] = {"unit_scales": True}
    return found
