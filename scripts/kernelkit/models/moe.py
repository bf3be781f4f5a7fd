"""Mixture of experts: how many, how wide, how they are routed, and the shared experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kernelkit.errors import ConfigError
from kernelkit.models.fields import Fields, Found
from kernelkit.models.spec import MoeSpec

_COUNT = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
ACTIVATION = ("hidden_activation", "mlp_hidden_act", "hidden_act", "activation_function")
_TOP_K = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_topk")


class Routing(NamedTuple):
    """How experts are chosen; `method` is one of spec.ROUTINGS, None where undecided."""

    method: str | None
    groups: bool = False  # n_group and topk_group apply
    bias: bool = False


def has_experts(fields: Fields) -> bool:
    """Whether the layers have experts.

    An architecture with experts must count them, except those whose dense sizes write 0 or
    nothing (Granite) or null (DeepSeek). Raises ConfigError for a missing or negative count.
    """
    kind = fields.architecture
    if kind.moe is None:
        return False
    may_lack = kind.shared == "granite" or not kind.known
    found = fields.find(*_COUNT)
    if found is None and not may_lack:
        raise fields.missing(*_COUNT)
    if found is None or found.value is None:
        return False
    return fields.check_integer(found, 0 if may_lack else 1) > 0


def read_moe(fields: Fields) -> MoeSpec:
    """The experts of a model that has some."""
    count = fields.integer("moe.num_experts", *_COUNT)
    top_k = fields.integer("moe.top_k", *_TOP_K)
    if top_k > count:
        raise ConfigError(
            f"{fields.architecture.name}: more experts per token than experts",
            received=f"{top_k} of {count}",
        )
    size = _expert_size(fields)
    routing = ROUTERS[fields.architecture.moe or "generic"](fields)
    n_group, topk_group = _groups(fields, count, routing.groups)
    latent = fields.optional_integer("moe.latent_size", "moe_latent_size")
    if latent is not None:
        reason = "the experts work on moe_latent_size columns, which no published family has"
        fields.undecide(("moe",), reason)
    return MoeSpec(
        num_experts=count,
        top_k=top_k,
        intermediate_size=size,
        routing=routing.method,
        n_group=n_group,
        topk_group=topk_group,
        routing_bias=fields.note("moe.routing_bias", Found(routing.bias, _routed(fields))),
        routed_scaling_factor=_scaling(fields),
        shared_intermediate_size=SHARED[fields.architecture.shared](fields, size),
        shared_expert_gate=fields.note(
            "moe.shared_expert_gate", fields.default(fields.architecture.shared == "gated")
        ),
        gated=fields.note("moe.gated", fields.default(fields.architecture.mlp_gated)),
        activation=_activation(fields),
        latent_size=latent,
    )


def _activation(fields: Fields) -> str:
    """The experts' activation. A clamped SwiGLU (gpt-oss) still says silu in its config."""
    limit = fields.find("swiglu_limit")
    if limit is not None and limit.value is not None:
        return fields.note("moe.activation", Found("swiglu_clamped", limit.source))
    return fields.text("moe.activation", *ACTIVATION, otherwise=fields.default("silu"))


def _routed(fields: Fields) -> str:
    return fields.sources.get("moe.routing", fields.class_source)


def _expert_size(fields: Fields) -> int:
    name = fields.architecture.expert_size
    names = ("moe_intermediate_size", "intermediate_size") if name == "generic" else (name,)
    return fields.integer("moe.intermediate_size", *names)


def _groups(fields: Fields, experts: int, apply: bool) -> tuple[int, int]:
    one = Found(1, "no expert groups")
    if not apply:
        return fields.note("moe.n_group", one), fields.note("moe.topk_group", one)
    n_group = fields.integer("moe.n_group", "n_group", otherwise=one)
    topk_group = fields.integer("moe.topk_group", "topk_group", otherwise=one)
    if experts % n_group or topk_group > n_group:
        raise ConfigError(
            f"{fields.architecture.name}: the expert groups do not fit the experts",
            received=f"{experts} experts, n_group {n_group}, topk_group {topk_group}",
        )
    return n_group, topk_group


def _scaling(fields: Fields) -> float:
    one = Found(1.0, "no routed_scaling_factor")
    return fields.number("moe.routed_scaling_factor", "routed_scaling_factor", otherwise=one)


def _fixed(method: str) -> Callable[[Fields], Routing]:
    def rule(fields: Fields) -> Routing:
        return Routing(fields.note("moe.routing", fields.default(method)))

    return rule


def _softmax(fields: Fields) -> Routing:
    """Softmax over all experts, top-k; renormalised where norm_topk_prob is set (Qwen)."""
    default = fields.default(False)
    normed = fields.flag("moe.routing", "norm_topk_prob", otherwise=default)
    return Routing("renorm" if normed else "default")


def _bias(fields: Fields) -> Routing:
    """Sigmoid scores, a selection bias, normalised weights: DeepSeek-V3's rule."""
    scoring = fields.find("scoring_func")
    bias = fields.find("use_routing_bias")
    if scoring is not None and scoring.value != "sigmoid":
        return _open(fields, scoring)
    if bias is not None and bias.value is not True:
        return _open(fields, bias)
    return _normed(fields, scoring or fields.default("sigmoid with a selection bias"))


def _normed(fields: Fields, scoring: Found[Any]) -> Routing:
    normed = fields.find("norm_topk_prob")
    if normed is not None and normed.value is not True:
        return _open(fields, normed)
    fields.note("moe.routing", scoring)
    return Routing("ds", groups=True, bias=True)


def _deepseek(fields: Fields) -> Routing:
    """topk_method: noaux_tc (V3) or greedy softmax (V2-Lite); grouped greedy has no op family."""
    method = fields.required("moe.routing", "topk_method")
    if method.value == "noaux_tc":
        scoring = fields.find("scoring_func")
        if scoring is not None and scoring.value != "sigmoid":
            return _open(fields, scoring)
        return _normed(fields, method)
    return _softmax(fields) if method.value == "greedy" else _open(fields, method)


def _generic(fields: Fields) -> Routing:
    """Routing of an architecture that is not in the table: only what its fields state."""
    scoring, method = fields.find("scoring_func"), fields.find("topk_method")
    if scoring is not None and scoring.value == "sigmoid" and method is not None:
        return _deepseek(fields)
    if scoring is not None and scoring.value == "softmax" and fields.find("norm_topk_prob"):
        return _softmax(fields)
    reason = "the config does not say how experts are scored (scoring_func, topk_method)"
    fields.undecide(("moe",), reason)
    return Routing(None)


def _open(fields: Fields, found: Found[Any]) -> Routing:
    fields.undecide(("moe",), f"no routing is known for {found.source} = {found.value!r}")
    fields.sources.pop("moe.routing", None)
    return Routing(None)


ROUTERS: dict[str, Callable[[Fields], Routing]] = {
    "softmax": _softmax,
    "topk_softmax": _fixed("renorm"),  # softmax over the chosen k: the same weights
    "llama4": _fixed("llama4"),
    "sparsemixer": _fixed("sparsemixer"),
    "bias": _bias,
    "deepseek": _deepseek,
    "generic": _generic,
}


def _shared_count(fields: Fields, size: int) -> int | None:
    """n_shared_experts of an expert's width (DeepSeek, GLM)."""
    found = fields.find("n_shared_experts")
    if found is None or not found.value:
        return None
    total = fields.check_integer(found) * size
    source = f"{found.source} * {fields.sources['moe.intermediate_size']}"
    return fields.note("moe.shared_intermediate_size", Found(total, source))


def _shared_field(*names: str) -> Callable[[Fields, int], int | None]:
    def rule(fields: Fields, size: int) -> int | None:
        target = "moe.shared_intermediate_size"
        return fields.optional_integer(target, *names, minimum=0) or _none(fields, target)

    return rule


def _none(fields: Fields, target: str) -> None:
    fields.sources.pop(target, None)


def _shared_expert_size(fields: Fields, size: int) -> int:
    """One shared expert as wide as a routed one (Llama-4)."""
    source = fields.sources["moe.intermediate_size"]
    return fields.note("moe.shared_intermediate_size", Found(size, source))


def _shared_nemotron(fields: Fields, size: int) -> int | None:
    """n_shared_experts of a width of their own."""
    count = fields.optional_integer("moe.shared_intermediate_size", "n_shared_experts", minimum=0)
    if not count:
        return _none(fields, "moe.shared_intermediate_size")
    width = fields.integer("moe.shared_intermediate_size", "moe_shared_expert_intermediate_size")
    return width * count


SHARED: dict[str | None, Callable[[Fields, int], int | None]] = {
    None: lambda fields, size: None,
    "count": _shared_count,
    "gated": _shared_field("shared_expert_intermediate_size"),
    "granite": _shared_field("shared_intermediate_size"),
    "expert_size": _shared_expert_size,
    "nemotron": _shared_nemotron,
    "generic": _shared_field("shared_expert_intermediate_size", "shared_intermediate_size"),
}
