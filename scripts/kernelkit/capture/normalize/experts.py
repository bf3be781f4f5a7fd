"""Mixture-of-experts dumps to the moe family: routing, and which experts a rank holds."""

from __future__ import annotations

from collections.abc import Iterator

from kernelkit.capture.normalize.raw import UNKNOWN, OtherInterface, Refusal
from kernelkit.capture.normalize.reading import Reading
from kernelkit.errors import UsageError
from kernelkit.ops.base import Variant
from kernelkit.ops.moe import FAMILY as MOE
from kernelkit.ops.moe.forms import (
    BF16,
    FP4,
    FP4_ROUTED,
    FP8_BLOCK,
    FP8_TENSOR,
    SWIGLU_ACTIVATION,
)

KINDS = {
    "trtllm_fp8_block_scale_moe": FP8_BLOCK,
    "trtllm_fp8_per_tensor_scale_moe": FP8_TENSOR,
    "trtllm_fp4_block_scale_moe": FP4,
    "trtllm_fp4_block_scale_routed_moe": FP4_ROUTED,
}
SIXTEEN_BITS = ("input", "fc1_expert_weights", "fc2_expert_weights")
# What a dump's name says of the routing, longest first.
NAMED = {"renormalize_naive": "renorm_naive", "renormalize": "renorm", "ds": "ds",
         "llama4": "llama4", "default": "default", "topk": "topk"}  # fmt: skip


def moe(reading: Reading) -> Variant:
    """A definition of the family. Raises Refusal where its constants are lost or contradict."""
    kind = KINDS[reading.dump.function]
    routing = None if kind == FP4_ROUTED else _routing(reading)
    local = reading.facts.num_local_experts or reading.dump.const("num_local_experts")
    total = _total(reading, local)
    groups = _groups(reading) if routing == "ds" else {}
    try:
        definition = MOE.definition(
            kind, routing, num_experts=total, num_local_experts=local,
            top_k=reading.dump.const("top_k"), hidden_size=_hidden(reading),
            intermediate_size=_inner(reading), **groups,
        )  # fmt: skip
    except UsageError as error:
        raise OtherInterface(error.what) from None
    fallback = None if routing == "ds" else f"{definition.name}_ne{total}"
    return Variant(definition, fallback)


def _routing(reading: Reading) -> str:
    spec = reading.spec.moe if reading.spec else None
    if reading.facts.routing or (spec and spec.routing):
        return str(reading.facts.routing or (spec and spec.routing))
    for word, routing in NAMED.items():
        if f"_{word}_routing" in reading.dump.name:
            return routing
    raise Refusal("routing-unknown", "the dump does not say how the experts are chosen; the "
                  "context record or the model's config does")  # fmt: skip


def _total(reading: Reading, local: int) -> int:
    spec = reading.spec.moe if reading.spec else None
    held = reading.facts.num_experts or reading.dump.consts.get("num_experts")
    held = held or (spec.num_experts if spec else None)
    return reading.known_or(held, local, f"{local} experts in all: one rank holds them")


def _groups(reading: Reading) -> dict[str, int]:
    spec = reading.spec.moe if reading.spec else None
    consts, facts = reading.dump.consts, reading.facts
    n_group = facts.n_group or consts.get("n_group") or (spec.n_group if spec else None)
    chosen = facts.topk_group or consts.get("topk_group") or (spec.topk_group if spec else None)
    if n_group is None or chosen is None:
        raise Refusal("axis-without-value", "the dump has no number of expert groups")
    return {"n_group": n_group, "topk_group": chosen}


def _hidden(reading: Reading) -> int:
    return reading.dump.const("hidden_size")


def _inner(reading: Reading) -> int:
    """The intermediate size; the routed template has only twice it, as gemm1_out_size."""
    consts = reading.dump.consts
    if "intermediate_size" in consts:
        return consts["intermediate_size"]
    recorded = reading.call.scalars.get("intermediate_size") if reading.call else None
    if isinstance(recorded, int):
        return recorded
    return reading.dump.const("gemm1_out_size") // 2


def cutlass(reading: Reading) -> Variant:
    """cutlass_fused_moe in 16 bits, where one rank holds all experts.

    The template knows neither scales, biases, other activations nor other ranks' experts: Raises
    Refusal for a call that has them, as its own reference would be wrong.
    """
    for reason in _beyond_the_template(reading):
        raise Refusal("reference-false", f"the template's reference: {reason}")
    return Variant(
        MOE.definition(
            BF16, None, num_experts=reading.dump.const("num_local_experts"),
            top_k=reading.dump.const("top_k"), hidden_size=_hidden(reading),
            intermediate_size=_inner(reading),
        )
    )  # fmt: skip


def _beyond_the_template(reading: Reading) -> Iterator[str]:
    scalars = reading.call.scalars if reading.call else {}
    kinds = {reading.dtype(name) for name in SIXTEEN_BITS} - {None, UNKNOWN}
    if len(kinds) > 1 or kinds - {"bfloat16", "float16"}:
        yield f"it takes no scales, and the tensors are {', '.join(sorted(map(str, kinds)))}"
    if scalars.get("ep_size", 1) != 1:
        yield f"it knows one rank, and the call is of {scalars['ep_size']}"
    if scalars.get("activation_type", SWIGLU_ACTIVATION) != SWIGLU_ACTIVATION:
        yield f"its activation is SwiGLU, the call's number {scalars['activation_type']}"
    if reading.dump.const("gemm1_out_size") != 2 * _inner(reading):
        yield "its experts have a gate, the call's have none"
    for name in reading.call.tensors if reading.call else ():
        if name.startswith(("fc1_expert_biases", "fc2_expert_biases", "swiglu_", "input_sf")):
            yield f"it has no {name}"
