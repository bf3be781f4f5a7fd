"""Mixture-of-experts calls: shapes from the tensors, the routing from the scalars."""

from __future__ import annotations

from typing import Any

from kernelkit.capture.sanitize.calls import Call, TensorArg
from kernelkit.capture.sanitize.observed import (
    Kept,
    Observed,
    Shaped,
    index,
    number,
    plain,
    shaped,
    tensor,
)
from kernelkit.ops.moe.forms import METHODS, SWIGLU_ACTIVATION

PACKED = 2  # float4 values in a byte
DEQUANTISED = ("gemm1_weights", "gemm2_weights")
_ROUTINGS = {value: name for name, value in METHODS.items()}
_FLOATS = (
    "routing_logits", "routing_bias", "hidden_states", "hidden_states_scale", "gemm1_weights",
    "gemm1_weights_scale", "gemm2_weights", "gemm2_weights_scale", "output1_scales_scalar",
    "output1_scales_gate_scalar", "output2_scales_scalar",
)  # fmt: skip
_SELECTED = ("input", "token_final_scales", "fc1_expert_weights", "fc2_expert_weights")
_SCALARS = ("local_expert_offset", "routed_scaling_factor")


def fp8(call: Call, strict: bool) -> Observed:
    """trtllm_fp8_block_scale_moe and trtllm_fp8_per_tensor_scale_moe."""
    return Observed(_inputs(call, _FLOATS), _facts(call), _constants(call))


def fp4(call: Call, strict: bool) -> Observed:
    """trtllm_fp4_block_scale_moe and its routed form: the definitions hold float32 weights."""
    plain(call, "gemm1_bias", "gemm2_bias")
    names = ("routing_logits", "routing_bias", "hidden_states")
    inputs = _inputs(call, names)
    for name in DEQUANTISED:
        *rows, packed = tensor(call, name).shape
        inputs[name] = Shaped((*rows, packed * PACKED), "float32")
    facts = _facts(call)
    if isinstance(call.arguments.get("topk_ids"), TensorArg):
        inputs["topk_ids"] = Kept(index(tensor(call, "topk_ids")))
        facts = {}
    return Observed(inputs, facts, _constants(call))


def cutlass(call: Call, strict: bool) -> Observed:
    """cutlass_fused_moe: SwiGLU on one rank that holds all experts. Quantised weights show by their
    dtype; what is chosen may be any expert, so the weights' first axis counts them."""
    plain(call, "fc1_expert_biases", "fc2_expert_biases", "input_sf", "swiglu_alpha",
          "swiglu_beta", "swiglu_limit")  # fmt: skip
    plain(call, "ep_size", allowed=(None, 1))
    plain(call, "activation_type", allowed=(None, SWIGLU_ACTIVATION))
    inputs: dict[str, Any] = {name: shaped(tensor(call, name)) for name in _SELECTED}
    inputs["token_selected_experts"] = Kept(index(tensor(call, "token_selected_experts")))
    return Observed(inputs, {}, {})


def _inputs(call: Call, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: shaped(value)
        for name in names
        if isinstance(value := call.arguments.get(name), TensorArg)
    }
    for name in _SCALARS:
        value = call.arguments.get(name)
        found[name] = (1.0 if name == "routed_scaling_factor" else 0) if value is None else value
    return found


def _facts(call: Call) -> dict[str, object]:
    routing = _ROUTINGS.get(call.arguments.get("routing_method_type"), "default")
    facts: dict[str, object] = {"routing": routing, "top_k": number(call, "top_k")}
    if routing == "ds":
        facts |= {name: call.arguments.get(name) or 1 for name in ("n_group", "topk_group")}
    return facts


def _constants(call: Call) -> dict[str, int]:
    """Axes that no tensor carries."""
    names = {"top_k": "top_k", "intermediate_size": "intermediate_size"}
    names |= {"num_experts": "num_experts", "num_local_experts": "local_num_experts"}
    values = {axis: call.arguments.get(name) for axis, name in names.items()}
    return {axis: value for axis, value in values.items() if type(value) is int}
