"""The definitions of the moe family: which name, axes and inputs a kind of experts has.

A rank that holds all experts (EP 1) has the published form, which knows one count of experts. One
that holds a part of them cannot route with it: its form has both counts and local_expert_offset.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kernelkit.dataset.definition import AxisConst, AxisVar, Definition, TensorSpec
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.errors import UsageError
from kernelkit.ops import base, references

OP_TYPE = "moe"
BLOCK = 128  # rows and columns of a float8 scale
FP8_BLOCK, FP8_TENSOR, FP4, FP4_ROUTED = "fp8_block", "fp8_per_tensor", "fp4_block", "fp4_routed"
# FlashInfer's RoutingMethodType.
METHODS = {"default": 0, "renorm": 1, "ds": 2, "llama4": 3, "renorm_naive": 4, "topk": 5}
ROUTINGS = {
    FP8_BLOCK: tuple(METHODS),
    FP8_TENSOR: ("renorm", "llama4"),
    FP4: ("renorm", "llama4"),
    FP4_ROUTED: tuple(METHODS),  # decided before the call
}
APIS = {
    FP8_BLOCK: "trtllm_fp8_block_scale_moe",
    FP8_TENSOR: "trtllm_fp8_per_tensor_scale_moe",
    FP4: "trtllm_fp4_block_scale_moe",
    FP4_ROUTED: "trtllm_fp4_block_scale_routed_moe",
}
REFERENCES = {
    FP8_BLOCK: "moe_fp8_block_scale",
    FP8_TENSOR: "moe_fp8_per_tensor",
    FP4: "moe_fp4_block_scale",
    FP4_ROUTED: "moe_fp4_routed",
}
WEIGHTS_TEXT = {
    "default": "softmax over all experts, not renormalised",
    "renorm": "softmax over the chosen logits",
    "ds": "DeepSeek-V3: sigmoid, bias in the selection only, expert groups",
    "llama4": "sigmoid of the best logit",
    "renorm_naive": "softmax over all experts, renormalised over the chosen",
    "topk": "equal weights",
}
_ROWS = "Rows are [up; gate]."
_PUBLISHED = re.compile(r"moe_fp8_block_scale_(\w+?)(?:_routing)?_topk\d+(?:_ng(\d+)_kg(\d+))?_e\d+_")
# What `run` computes with where a form lacks the input.
_NEUTRAL = {"routing_bias": "routing_logits.new_zeros(1)", "local_expert_offset": "0"}


@dataclass(frozen=True)
class Form:
    """The constants of one definition. num_experts counts all, num_local_experts one rank's."""

    kind: str
    routing: str
    num_experts: int
    num_local_experts: int
    top_k: int
    hidden_size: int
    intermediate_size: int
    n_group: int = 1
    topk_group: int = 1

    def __post_init__(self) -> None:
        """Raises UsageError where the constants contradict each other."""
        if self.routing not in ROUTINGS.get(self.kind, ()):
            raise UsageError(
                "no such kind of experts with this routing",
                received=f"{self.kind}, {self.routing}",
                allowed="; ".join(f"{kind}: {', '.join(r)}" for kind, r in ROUTINGS.items()),
            )
        for problem in self._problems():
            raise UsageError(f"not a mixture of experts: {problem}", received=repr(self))

    def _problems(self) -> list[str]:
        found = []
        if not 1 <= self.top_k <= self.num_experts:
            found.append("top_k is not between 1 and num_experts")
        if not 1 <= self.num_local_experts <= self.num_experts:
            found.append("num_local_experts is not between 1 and num_experts")
        if self.routing == "llama4" and self.top_k != 1:
            found.append("llama4 routing chooses one expert")
        if self.num_experts % self.n_group or not 1 <= self.topk_group <= self.n_group:
            found.append("the expert groups do not fit the experts")
        elif self.top_k > self.num_experts // self.n_group * self.topk_group:
            found.append("top_k exceeds the experts of the kept groups")
        if self.kind == FP8_BLOCK and (self.hidden_size % BLOCK or self.intermediate_size % BLOCK):
            found.append(f"block scales need sizes that {BLOCK} divides")
        return found

    @property
    def whole(self) -> bool:
        """Whether one rank holds all experts."""
        return self.num_local_experts == self.num_experts

    @property
    def name(self) -> str:
        """The dataset's name; e counts the local experts."""
        sizes = f"e{self.num_local_experts}_h{self.hidden_size}_i{self.intermediate_size}"
        if self.kind != FP8_BLOCK:
            return f"{APIS[self.kind]}_topk{self.top_k}_{sizes}"
        if self.routing == "ds":
            groups = f"ng{self.n_group}_kg{self.topk_group}"
            return f"moe_fp8_block_scale_ds_routing_topk{self.top_k}_{groups}_{sizes}"
        return f"moe_fp8_block_scale_{self.routing}_topk{self.top_k}_{sizes}"

    def definition(self) -> Definition:
        """The definition with these constants."""
        inputs = self._inputs()
        return Definition(
            name=self.name,
            description=self._description(),
            op_type=OP_TYPE,
            tags=self._tags(),
            axes=self._axes(),
            constraints=[
                "gemm1_weights.shape[1] == 2 * intermediate_size",
                "gemm2_weights.shape[1] == hidden_size",
                "gemm2_weights.shape[2] == intermediate_size",
            ],
            inputs=inputs,
            outputs={"output": base.tensor("seq_len hidden_size", "bfloat16")},
            reference=with_arguments(self._reference(), list(inputs)),
        )

    def _description(self) -> str:
        held = "all" if self.whole else f"{self.num_local_experts}"
        if self.kind == FP4_ROUTED:
            routing = "the routing is given"
        else:
            routing = f"routing {self.routing} ({WEIGHTS_TEXT[self.routing]})"
        return (
            f"Mixture of {self.num_experts} SwiGLU experts, {held} of them on this rank, "
            f"{self.top_k} a token; {routing}; {_STORAGE[self.kind]}."
        )

    def _tags(self) -> list[str]:
        tags = [fi_api_tag(f"flashinfer.fused_moe.{APIS[self.kind]}")]
        if self.kind in (FP8_BLOCK, FP8_TENSOR):
            return ["quantization:float8_e4m3fn", *tags]
        routed = ["routing:pre-computed"] if self.kind == FP4_ROUTED else []
        return ["quantization:float4_e2m1fn_mxfp4", *tags, "gpu:sm100", *routed]

    def _axes(self) -> dict[str, AxisConst | AxisVar]:
        local = self.kind == FP8_BLOCK or not self.whole
        total = self.kind != FP8_BLOCK or self.routing == "ds" or not self.whole
        hidden, inner = self.hidden_size, self.intermediate_size
        axes: dict[str, AxisConst | AxisVar] = {"seq_len": base.var("Number of tokens.")}
        if total:
            axes["num_experts"] = base.const(self.num_experts, "Experts of all ranks.")
        if local:
            axes["num_local_experts"] = base.const(self.num_local_experts, "Experts of this rank.")
        axes["hidden_size"] = base.const(hidden)
        axes["intermediate_size"] = base.const(inner, "Width of one expert.")
        axes["gemm1_out_size"] = base.const(2 * inner, "up and gate.")
        axes["top_k"] = base.const(self.top_k, "Experts of each token.")
        if self.kind == FP8_BLOCK:
            axes["num_hidden_blocks"] = base.const(hidden // BLOCK)
            axes["num_intermediate_blocks"] = base.const(inner // BLOCK)
            axes["num_gemm1_out_blocks"] = base.const(2 * inner // BLOCK)
        return axes

    def _inputs(self) -> dict[str, TensorSpec]:
        axes = self._axes()
        held = "num_local_experts" if "num_local_experts" in axes else "num_experts"
        total = "num_experts" if "num_experts" in axes else "num_local_experts"
        inputs = self._router_inputs(total) | _EXPERT_INPUTS[self.kind](held)
        if self.kind != FP8_BLOCK and self.routing == "llama4" and self.kind != FP4_ROUTED:
            inputs["routing_bias"] = base.tensor("num_experts", "bfloat16", "Added to the logits.")
        if self.routing == "ds" and self.kind == FP8_BLOCK or not self.whole:
            inputs["local_expert_offset"] = base.tensor(None, "int32", "First expert of this rank.")
        if self.routing == "ds" and self.kind == FP8_BLOCK:
            inputs["routed_scaling_factor"] = base.tensor(None, "float32", "Factor of the weights.")
        return inputs

    def _router_inputs(self, total: str) -> dict[str, TensorSpec]:
        if self.kind == FP4_ROUTED:
            text = "(expert << 16) | bits of its bfloat16 weight."
            return {"topk_ids": base.tensor("seq_len top_k", "int32", text)}
        if self.routing != "ds":
            return {"routing_logits": base.tensor(f"seq_len {total}", "bfloat16")}
        return {
            "routing_logits": base.tensor(f"seq_len {total}", "float32"),
            "routing_bias": base.tensor(total, "bfloat16", "Added to the scores to select."),
        }

    def _reference(self) -> str:
        if self.kind == FP4_ROUTED:
            return references.source(REFERENCES[self.kind])
        if self.routing == "ds":
            groups = {"N_GROUP": self.n_group, "TOPK_GROUP": self.topk_group}
            return references.source("moe_fp8_block_scale_ds", TOP_K=self.top_k, **groups)
        name = REFERENCES[self.kind]
        return references.source(name, ROUTING=self.routing, TOP_K=self.top_k)


_STORAGE = {
    FP8_BLOCK: "float8 with a float32 scale for each block of 128 x 128 weights and 128 activations",
    FP8_TENSOR: "float8 with scales for each expert",
    FP4: "bfloat16 activations, MXFP4 weights, here dequantised to float32",
    FP4_ROUTED: "bfloat16 activations, MXFP4 weights, here dequantised to float32",
}
