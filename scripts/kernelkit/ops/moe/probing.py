"""Fresh contents and probes of the moe family, and the tokens whose routing is a tie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.ops import probing
from kernelkit.ops.base import Inputs
from kernelkit.ops.moe.forms import Form, form_of
from kernelkit.ops.moe.names import own, shared

if TYPE_CHECKING:
    import torch

BIAS = 0.5  # of the `bias` probe: as large as the scores themselves
CHOSEN = 4.0  # logits of the experts that the `crowded` probe chooses; minus that of the others
SURE = 30.0  # ... of the `exact` probe: their sigmoids are one
POPULAR = 0.75  # of its tokens choose the same experts
SPREAD = 2.0  # scales of the `scales` probe: powers of two between -SPREAD and SPREAD
GATE = 16.0  # silu of it is itself
SMALLER = 2.0**-5  # of the second GEMM in the `exact` probe, whose results are near one then
GIVEN = ("topk_ids", "token_selected_experts")  # a routing decided before the call
# Another order of float32 sums, or another sigmoid, moves a score by less.
TIE = 1e-5


def vary_indices(inputs: Inputs, rng: torch.Generator) -> Inputs:
    """Tokens exchange their experts where those are given."""
    names = [name for name in GIVEN if name in inputs]
    return {name: probing.rolled(inputs[name], rng, columns=False) for name in names}


def probes(
    definition: Definition, inputs: Inputs, rng: torch.Generator
) -> Iterator[tuple[str, Inputs]]:
    """bias: a bias as large as the scores. crowded: most tokens choose the same experts, all with
    equal weights, so that one left out shows. scales: block scales that differ by powers of two.
    exact: what goes into the second GEMM are powers of two, which float8 rounds not at all."""
    form = form_of(definition)
    fresh = {**probing.vary(inputs, rng), **vary_indices(inputs, rng)}
    if "routing_bias" in inputs:
        bias = probing.normal(inputs["routing_bias"].shape, rng, inputs["routing_bias"]) * BIAS
        changes = {"routing_bias": bias.to(inputs["routing_bias"].dtype)}
        yield "bias", probing.replaced(definition, fresh, changes)
    yield "crowded", probing.replaced(definition, fresh, _crowded(form, inputs, CHOSEN, rng))
    exact = own(_exact(shared(fresh)), inputs)
    changes = {**_crowded(form, inputs, SURE, rng), **exact}
    yield "exact", probing.replaced(definition, fresh, changes)
    # What goes into the second GEMM of the per-tensor kind is stored in float8: its scale stays.
    scales = [
        name
        for name in inputs
        if "scale" in name and probing.is_values(inputs[name]) and not name.startswith("output1")
    ]
    if scales:
        changes = {name: _spread(fresh[name], rng) for name in scales}
        yield "scales", probing.replaced(definition, fresh, changes)


def undecided(definition: Definition, inputs: Inputs) -> torch.Tensor | None:
    """[tokens]: whether the last expert that is chosen, or the last group, is one of equals."""
    if "routing_logits" not in inputs:
        return None
    form = form_of(definition)
    scores = inputs["routing_logits"].float()
    if form.routing == "ds":
        return _undecided_groups(form, scores.sigmoid() + inputs["routing_bias"].float())
    if "routing_bias" in inputs:
        scores = scores + inputs["routing_bias"].float()
    return _tied(scores, form.top_k)


def _undecided_groups(form: Form, scores: torch.Tensor) -> torch.Tensor:
    groups = scores.unflatten(1, (form.n_group, -1))
    best = groups.topk(min(2, groups.shape[2]), dim=2).values.sum(dim=2)
    kept = best >= best.topk(form.topk_group, dim=1).values[:, -1:]
    inside = groups.masked_fill(~kept[:, :, None], float("-inf")).flatten(1)
    return _tied(best, form.topk_group) | _tied(inside, form.top_k)


def _tied(scores: torch.Tensor, count: int) -> torch.Tensor:
    """[rows]: whether the count-th highest is nearly the next one."""
    import torch

    if scores.shape[1] <= count:
        return torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    best = scores.topk(count + 1, dim=1).values
    return best[:, count - 1] - best[:, count] <= TIE


def _crowded(form: Form, inputs: Inputs, height: float, rng: torch.Generator) -> Inputs:
    """Routing in which a token's experts are neighbours, for most tokens the first local ones."""
    import torch

    name = next(name for name in ("routing_logits", *GIVEN) if name in inputs)
    given = inputs[name]
    tokens = len(given)
    start = torch.randint(0, form.num_experts, (tokens,), generator=rng)
    popular = torch.rand(tokens, generator=rng) < POPULAR
    popular[:1] = True
    start[popular] = int(inputs.get("local_expert_offset") or 0)
    experts = (start[:, None] + torch.arange(form.top_k)) % form.num_experts
    if name == "topk_ids":
        bits = torch.full((), 1 / form.top_k).to(torch.bfloat16).view(torch.int16).int() & 0xFFFF
        return {name: (experts.int() << 16 | bits).to(given.device)}
    if name == "token_selected_experts":
        even = torch.full_like(inputs["token_final_scales"], 1 / form.top_k)
        return {name: experts.to(given.dtype).to(given.device), "token_final_scales": even}
    logits = 0.3 * torch.randn(tokens, form.num_experts, generator=rng) - height
    chosen = height + 0.1 * torch.randn(tokens, form.top_k, generator=rng)
    logits.scatter_(1, experts, chosen)
    changes = {name: logits.to(given.dtype).to(given.device)}
    if "routing_bias" in inputs:
        changes["routing_bias"] = torch.zeros_like(inputs["routing_bias"])
    return changes


def _exact(inputs: Inputs) -> Inputs:
    """One hidden element a token, equal to GATE; gate weights of one, up weights and all scales
    powers of two. So the gate is GATE and silu(gate) * up is a power of two, up to its sign."""
    import torch

    hidden, w13 = inputs["hidden_states"], inputs["gemm1_weights"]
    column = (torch.arange(len(hidden), device=hidden.device) * 37 + 5) % hidden.shape[1]
    single = torch.zeros(hidden.shape, device=hidden.device)
    single.scatter_(1, column[:, None], GATE)
    changes: Inputs = {"hidden_states": single.to(hidden.dtype), "gemm1_weights": _powers(w13)}
    for name in ("hidden_states_scale", "gemm1_weights_scale", "output1_scales_scalar",
                 "output1_scales_gate_scalar"):  # fmt: skip
        if name in inputs:
            changes[name] = torch.ones_like(inputs[name])
    for name in ("gemm2_weights_scale", "output2_scales_scalar"):
        if name in inputs:
            changes[name] = inputs[name].log2().round().exp2() * SMALLER
    if inputs["gemm2_weights"].element_size() > 1:
        changes["gemm2_weights"] = inputs["gemm2_weights"] * SMALLER
    return changes


def _powers(w13: torch.Tensor) -> torch.Tensor:
    """[up; gate] weights: up +-1/16 or +-1/8 by the given ones' bits, gate one."""
    import torch

    half = w13.shape[1] // 2
    result = torch.ones_like(w13)
    up = w13[:, :half]
    if w13.element_size() > 1:
        result[:, :half] = up.sign().where(up != 0, 1.0) / torch.where(up.abs() > up.std(), 8, 16)
        return result
    # float8_e4m3: sign, four bits of exponent with bias 7, three of mantissa.
    bits = up.view(torch.uint8)
    result.view(torch.uint8)[:, :half] = (bits & 0x80) | (0x18 + ((bits & 1) << 3))
    return result


def _spread(scales: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Times powers of two, of mean square one."""
    exponents = probing.uniform(-SPREAD, SPREAD, tuple(scales.shape), rng, scales)
    factor = exponents.round().exp2()
    return scales * factor / factor.square().mean().sqrt()
