"""The definitions of the moe family: axes, inputs and reference of a Form.

A rank that holds all experts has the published form, which knows one count of experts. One that
holds a part of them could not route with it: its form has both counts and local_expert_offset.
DeepSeek's routing has both in either case. The bf16 kind is cutlass_fused_moe's: its names, and
a rank that holds all experts.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from kernelkit.dataset.definition import AxisConst, AxisVar, Definition, TensorSpec
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.ops import base, references
from kernelkit.ops.moe.forms import (
    APIS,
    BF16,
    BLOCK,
    FP4,
    FP4_ROUTED,
    FP8_BLOCK,
    FP8_TENSOR,
    Form,
)

FP8, FP32 = "float8_e4m3fn", "float32"
REFERENCES = {
    FP8_BLOCK: "moe_fp8_block_scale",
    FP8_TENSOR: "moe_fp8_per_tensor",
    FP4: "moe_fp4_block_scale",
    FP4_ROUTED: "moe_fp4_routed",
    BF16: "moe_bf16",
}
# What stands in `run` for an input that a form lacks.
NEUTRAL = {"routing_bias": "routing_logits.new_zeros(1)", "local_expert_offset": "0"}
_STORED = {
    FP8_BLOCK: "float8 with a float32 scale for each 128 x 128 weights and 128 activations",
    FP8_TENSOR: "float8 with scales for each expert",
    FP4: "bfloat16 activations, MXFP4 weights, here dequantised",
    FP4_ROUTED: "bfloat16 activations, MXFP4 weights, here dequantised; the routing is given",
    BF16: "bfloat16; the routing is given",
}
_WEIGHTS = {
    "default": "softmax over all experts",
    "renorm": "softmax over the chosen logits",
    "ds": "DeepSeek-V3, sigmoid with a bias that only selects",
    "llama4": "sigmoid of the best logit",
    "renorm_naive": "softmax over all experts, renormalised over the chosen",
    "topk": "equal weights",
}


def definition_of(form: Form) -> Definition:
    """The definition with these constants."""
    inputs = inputs_of(form)
    return Definition(
        name=form.name,
        description=_description(form),
        op_type="moe",
        tags=_tags(form.kind),
        axes=axes_of(form),
        constraints=_constraints(form.kind),
        inputs=inputs,
        outputs={"output": base.tensor("seq_len hidden_size", "bfloat16")},
        reference=with_arguments(_reference(form), list(inputs)),
    )


def _constraints(kind: str) -> list[str]:
    first, second = (f"fc{n}_expert_weights" if kind == BF16 else f"gemm{n}_weights" for n in "12")
    return [
        f"{first}.shape[1] == 2 * intermediate_size",
        f"{second}.shape[1] == hidden_size",
        f"{second}.shape[2] == intermediate_size",
    ]


def axes_of(form: Form) -> dict[str, AxisConst | AxisVar]:
    """The axes in the dataset's order."""
    hidden, inner, blocks = form.hidden_size, form.intermediate_size, form.kind == FP8_BLOCK
    axes: dict[str, AxisConst | AxisVar] = {"seq_len": base.var("Number of tokens.")}
    if form.kind == BF16:
        return axes | {
            "num_local_experts": base.const(form.num_local_experts, "Experts, all on this rank."),
            "hidden_size": base.const(hidden),
            "intermediate_size": base.const(inner, "Width of one expert."),
            "top_k": base.const(form.top_k, "Experts of each token."),
            "gemm1_out_size": base.const(2 * inner, "up and gate."),
        }
    if not blocks or form.routing == "ds" or not form.whole:
        axes["num_experts"] = base.const(form.num_experts, "Experts of all ranks.")
    if blocks or not form.whole:
        axes["num_local_experts"] = base.const(form.num_local_experts, "Experts of this rank.")
    axes["hidden_size"] = base.const(hidden)
    axes["intermediate_size"] = base.const(inner, "Width of one expert.")
    axes["gemm1_out_size"] = base.const(2 * inner, "up and gate.")
    axes["top_k"] = base.const(form.top_k, "Experts of each token.")
    if blocks:
        axes["num_hidden_blocks"] = base.const(hidden // BLOCK)
        axes["num_intermediate_blocks"] = base.const(inner // BLOCK)
        axes["num_gemm1_out_blocks"] = base.const(2 * inner // BLOCK)
    return axes


def inputs_of(form: Form) -> dict[str, TensorSpec]:
    """The inputs in the dataset's order; the bias of llama4 and the offset come last."""
    if form.kind == BF16:
        return _cutlass_inputs()
    axes = axes_of(form)
    held = "num_local_experts" if "num_local_experts" in axes else "num_experts"
    total = "num_experts" if "num_experts" in axes else "num_local_experts"
    inputs = _router_inputs(form, total) | _expert_inputs(form.kind, held)
    if form.kind != FP8_BLOCK and form.routing == "llama4":
        inputs["routing_bias"] = base.tensor(total, "bfloat16", "Added to the logits.")
    if form.routing == "ds" or not form.whole:
        inputs["local_expert_offset"] = base.tensor(None, "int32", "First expert of this rank.")
    if form.routing == "ds":
        inputs["routed_scaling_factor"] = base.tensor(None, FP32, "Factor of the weights.")
    return inputs


def _cutlass_inputs() -> dict[str, TensorSpec]:
    chosen = "A number that is no expert's contributes nothing."
    experts, hidden = "num_local_experts", "hidden_size"
    return {
        "input": base.tensor(f"seq_len {hidden}", "bfloat16"),
        "token_selected_experts": base.tensor("seq_len top_k", "int32", chosen),
        "token_final_scales": base.tensor("seq_len top_k", FP32, "Factors of experts' outputs."),
        "fc1_expert_weights": base.tensor(
            f"{experts} gemm1_out_size {hidden}", "bfloat16", "Rows are [up; gate]."
        ),
        "fc2_expert_weights": base.tensor(f"{experts} {hidden} intermediate_size", "bfloat16"),
    }


def _router_inputs(form: Form, total: str) -> dict[str, TensorSpec]:
    if form.kind == FP4_ROUTED:
        text = "(expert << 16) | bits of its bfloat16 weight."
        return {"topk_ids": base.tensor("seq_len top_k", "int32", text)}
    if form.routing != "ds":
        return {"routing_logits": base.tensor(f"seq_len {total}", "bfloat16")}
    bias = base.tensor(total, "bfloat16", "Added to the sigmoids in the selection only.")
    return {"routing_logits": base.tensor(f"seq_len {total}", FP32), "routing_bias": bias}


def _expert_inputs(kind: str, held: str) -> dict[str, TensorSpec]:
    """Activations and weights of `held` experts."""
    weights = FP8 if kind in (FP8_BLOCK, FP8_TENSOR) else FP32
    w13 = base.tensor(f"{held} gemm1_out_size hidden_size", weights, "Rows are [up; gate].")
    w2 = base.tensor(f"{held} hidden_size intermediate_size", weights)
    hidden = base.tensor("seq_len hidden_size", FP8 if weights == FP8 else "bfloat16")
    scale = base.tensor(held, FP32, "One factor an expert.")
    if kind == FP8_BLOCK:
        return {
            "hidden_states": hidden,
            "hidden_states_scale": base.tensor("num_hidden_blocks seq_len", FP32),
            "gemm1_weights": w13,
            "gemm1_weights_scale": base.tensor(
                f"{held} num_gemm1_out_blocks num_hidden_blocks", FP32
            ),
            "gemm2_weights": w2,
            "gemm2_weights_scale": base.tensor(
                f"{held} num_hidden_blocks num_intermediate_blocks", FP32
            ),
        }
    if kind == FP8_TENSOR:
        return {
            "hidden_states": hidden,
            "gemm1_weights": w13,
            "output1_scales_scalar": scale,
            "output1_scales_gate_scalar": scale,
            "gemm2_weights": w2,
            "output2_scales_scalar": scale,
        }
    return {"hidden_states": hidden, "gemm1_weights": w13, "gemm2_weights": w2}


def _description(form: Form) -> str:
    held = "" if form.whole else f", {form.num_local_experts} of them on this rank"
    routing = f" Routing {form.routing}: {_WEIGHTS[form.routing]}." if form.routing else ""
    return (
        f"Mixture of {form.num_experts} SwiGLU experts{held}, {form.top_k} a token; "
        f"{_STORED[form.kind]}.{routing}"
    )


def _tags(kind: str) -> list[str]:
    api = fi_api_tag(f"flashinfer.fused_moe.{APIS[kind]}")
    if kind in (FP8_BLOCK, FP8_TENSOR):
        return [f"quantization:{FP8}", api]
    if kind == BF16:
        return [api, "routing:pre-computed"]
    routed = ["routing:pre-computed"] if kind == FP4_ROUTED else []
    return ["quantization:float4_e2m1fn_mxfp4", api, "gpu:sm100", *routed]


def _reference(form: Form) -> str:
    name = REFERENCES[form.kind]
    if form.routing is None:
        return references.source(name)
    if form.routing == "ds":
        groups = {"N_GROUP": form.n_group, "TOPK_GROUP": form.topk_group}
        return references.source("moe_fp8_block_scale_ds", TOP_K=form.top_k, **groups)
    return references.source(name, ROUTING=form.routing, TOP_K=form.top_k)


def with_arguments(text: str, names: Sequence[str]) -> str:
    """The reference with `run` taking exactly `names`; what it loses becomes a neutral constant."""
    run = next(n for n in ast.parse(text).body if getattr(n, "name", None) == "run")
    had = [argument.arg for argument in run.args.args]
    lines, first, body = text.splitlines(), run.lineno - 1, run.body[0].lineno - 1
    head = f"def run({', '.join(names)}):"
    signature = [head] if len(head) <= 100 else ["def run(", *(f"    {n}," for n in names), "):"]
    fixed = [f"    {name} = {NEUTRAL[name]}" for name in had if name not in names]
    return "\n".join(lines[:first] + signature + fixed + lines[body:]) + "\n"
