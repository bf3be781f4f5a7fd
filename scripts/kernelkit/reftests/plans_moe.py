"""The plan of routed experts: the kind's dequantisation, the routing, and who computes them.

No FlashInfer kernel of the trtllm kinds runs on sm_90: SGLang's Triton kernels do, in float8 for
block scales, in bfloat16 on dequantised weights for the other kinds.
"""

from __future__ import annotations

from kernelkit.dataset.definition import Definition
from kernelkit.ops.moe.forms import BF16, FP4, FP4_ROUTED, FP8_BLOCK, FP8_TENSOR, form_of
from kernelkit.reftests.bundle import Name
from kernelkit.reftests.plan import Plan, Truth, torch_truth

INPUTS = {
    FP8_BLOCK: "moe_fp8_block_inputs",
    FP8_TENSOR: "moe_fp8_tensor_inputs",
    FP4: "moe_fp4_inputs",
    FP4_ROUTED: "moe_fp4_routed_inputs",
    BF16: "moe_bf16_inputs",
}
HOPPER = 90  # float8 needs 89, the sizes were chosen on sm_90
SMALL = 256  # hidden and intermediate size of the small size: two blocks


def plan(definition: Definition) -> Plan:
    """The plan of a moe definition. Raises UsageError for a name that is not of the family."""
    form = form_of(definition)
    blocks, own = form.kind == FP8_BLOCK, form.kind == BF16
    kernel = "sglang_fp8_block" if blocks else "sglang_bf16"
    return Plan(
        inputs=("moe_inputs", INPUTS[form.kind]),
        truths=(
            Truth("sglang", "moe_truth", kernel, "sglang", HOPPER),
            torch_truth("moe_truth", "torch_moe"),
        ),
        sizes={"small": {"seq_len": 9}, "medium": {"seq_len": 64}, "large": {"seq_len": 1024}},
        reduced=_reduced(definition),
        constants={
            "TOP_K": form.top_k,
            "N_GROUP": form.n_group,
            "TOPK_GROUP": form.topk_group,
            "WEIGHT_ON_INPUT": form.kind == FP8_TENSOR and form.routing == "llama4",
            "BIAS": 0.1 if form.routing == "ds" else 0.01,
            "route": Name("route_selected" if own else f"route_{form.routing or 'given'}"),
            "HIDDEN_STATES": "input" if own else "hidden_states",
            "GEMM1": "fc1_expert_weights" if own else "gemm1_weights",
            "GEMM2": "fc2_expert_weights" if own else "gemm2_weights",
            "activations": Name("fp8_block_activations" if blocks else "plain_activations"),
            "expert_weights": Name("fp8_block_expert" if blocks else "plain_expert"),
        },
    )


def _reduced(definition: Definition) -> dict[str, int]:
    """Hidden and intermediate size with all that follows from them."""
    sizes = {
        "hidden_size": SMALL,
        "intermediate_size": SMALL,
        "gemm1_out_size": 2 * SMALL,
        "num_hidden_blocks": SMALL // 128,
        "num_intermediate_blocks": SMALL // 128,
        "num_gemm1_out_blocks": 2 * SMALL // 128,
    }
    held = definition.const_axes
    return {name: size for name, size in sizes.items() if held.get(name, 0) > size}
