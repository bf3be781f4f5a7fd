"""moe: routed SwiGLU experts, in four kinds of quantisation and without.

    moe_fp8_block_scale_ds_routing_topk{k}_ng{n_group}_kg{topk_group}_e{local}_h{H}_i{I}
    moe_fp8_block_scale_{renorm|default|renorm_naive|llama4|topk}_topk{k}_e{local}_h{H}_i{I}
    trtllm_fp8_per_tensor_scale_moe_topk{k}_e{local}_h{H}_i{I}
    trtllm_fp4_block_scale_moe_topk{k}_e{local}_h{H}_i{I}
    trtllm_fp4_block_scale_routed_moe_topk{k}_e{local}_h{H}_i{I}
    cutlass_fused_moe_e{E}_h{H}_i{I}_topk{k}

Where the weight of an expert applies: on its output, except for llama4 routing of the per-tensor
kind, where it scales the expert's input as in the model itself. That is what FlashInfer's kernels
do (0.6.12 and 0.7.2): only the per-tensor launcher passes the routing weights to the first GEMM and
none to the last step. The weights of `topk` are 1/k as in FlashInfer's trace template; its kernel
(RoutingMethodType.TopK) takes the raw logits as weights. No known model routes so.

The last kind, in bfloat16, is derived for no model: SGLang calls cutlass_fused_moe where it is
asked to (`--moe-runner-backend flashinfer_cutlass`), and a Triton kernel of its own otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall
from kernelkit.ops.moe import cost, fi_call, inputs, probing
from kernelkit.ops.moe.forms import (
    BF16,
    BLOCK,
    FP4,
    FP4_ROUTED,
    FP8_BLOCK,
    FP8_TENSOR,
    ROUTINGS,
    Form,
    form_of,
    read_form,
)
from kernelkit.ops.moe.schema import definition_of

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec, MoeSpec

# The kinds that serve a routing, in the dataset.
KINDS = {
    "ds": (FP8_BLOCK,),
    "renorm": (FP8_BLOCK, FP4, FP4_ROUTED, FP8_TENSOR),
    "llama4": (FP4, FP4_ROUTED, FP8_TENSOR),
    "default": (FP8_BLOCK,),
    "renorm_naive": (FP8_BLOCK,),
    "topk": (FP8_BLOCK,),
}
SWIGLU = ("silu", "swish")


class Moe(OpFamily):
    """Mixture of experts."""

    op_type = "moe"
    divided_by = "ep"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """The kinds that serve the model's routing; EP divides the experts, TP nothing.

        Nothing for experts that the dataset has no form of: routing undecided or sparsemixer, no
        gate (relu2), an activation other than SwiGLU, gpt-oss, a latent input.
        """
        moe = spec.moe
        if moe is None or not _plain_swiglu(moe):
            return
        local = parallel.experts(moe.num_experts)
        for kind in KINDS.get(moe.routing or "", ()):
            if kind != FP8_BLOCK or spec.hidden_size % BLOCK == 0 == moe.intermediate_size % BLOCK:
                yield self._variant(moe, kind, spec.hidden_size, local)

    def _variant(self, moe: MoeSpec, kind: str, hidden_size: int, local: int) -> Variant:
        """The definition; one of another num_experts may hold its name, but for DeepSeek's."""
        groups = {"n_group": moe.n_group, "topk_group": moe.topk_group}
        definition = self.definition(
            kind, moe.routing, num_experts=moe.num_experts, num_local_experts=local,
            top_k=moe.top_k, hidden_size=hidden_size, intermediate_size=moe.intermediate_size,
            **(groups if moe.routing == "ds" else {}),
        )  # fmt: skip
        if moe.routing == "ds":
            return Variant(definition)
        return Variant(definition, f"{definition.name}_ne{moe.num_experts}")

    def definition(
        self,
        kind: str,
        routing: str | None,
        *,
        num_experts: int,
        top_k: int,
        hidden_size: int,
        intermediate_size: int,
        num_local_experts: int | None = None,
        n_group: int = 1,
        topk_group: int = 1,
    ) -> Definition:
        """One definition of the family; without num_local_experts one rank holds all.

        kind: "fp8_block", "fp8_per_tensor", "fp4_block", "fp4_routed" or "bf16". The routing of
        the last two is decided before the call and left out. Raises UsageError where the
        constants contradict each other.
        """
        routing = None if ROUTINGS.get(kind) == (None,) else routing
        local = num_experts if num_local_experts is None else num_local_experts
        sizes = top_k, hidden_size, intermediate_size
        return definition_of(Form(kind, routing, num_experts, local, *sizes, n_group, topk_group))

    def rebuild(self, name: str, constants: Mapping[str, int]) -> Definition:
        """Ours, from a published name and its constant axes; top-1 is llama4's, as published.

        Raises UsageError for a name that is not of the family.
        """
        return definition_of(read_form(name, constants, biased=constants["top_k"] == 1))

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """See cost.py: routed pairs, and the weights of experts that have tokens.

        The float4 kinds move the float32 weights that their interface has.
        """
        return cost.cost_of(definition, axes, inputs)

    def tolerance(self, definition: Definition) -> Tolerance:
        """The dataset's hit ratios: 85 % for float8 block scales, 90 % for the other kinds.

        Kernels round what goes into the second GEMM to float8, 3 % of outputs near one, of a row
        and of the element's scale. One of eight experts left out is 35 % of a row.

        In bfloat16 nothing is that coarse. Each of five roundings (both halves of the first
        product, silu(gate) * up, an expert's output, the sum) is 0.17 % of a row, and where a
        kernel adds eight experts in bfloat16, that is 0.5 %.
        """
        if form_of(definition).kind == BF16:
            return Tolerance(
                atol=1e-2, rtol=2e-2, matched_ratio=0.99, row_error=0.02, gain_error=0.005
            )
        ratio = 0.85 if "hidden_states_scale" in definition.inputs else 0.9
        return Tolerance(
            atol=3e-2, rtol=1e-1, matched_ratio=ratio, of_rms=0.05, row_error=0.1, gain_error=0.01
        )

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Five tokens."""
        return {"seq_len": 5}

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Hidden states with their scales; experts chosen before the call."""
        if "token_selected_experts" in definition.inputs:
            return inputs.selected(definition, axes, rng)
        if "topk_ids" in definition.inputs:
            return {"topk_ids": inputs.routed_ids(definition, axes, rng)}
        if "hidden_states_scale" in definition.inputs:
            return inputs.activations(definition, axes, rng)
        return {}

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Quantised weights and their scales; normal logits; a small bias; the first rank."""
        return inputs.value(definition, name, axes, rng)

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Tokens exchange their experts where those are given."""
        return probing.vary_indices(inputs, rng)

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """bias, crowded and scales: see probing.py."""
        return probing.probes(definition, inputs, rng)

    def undecided_rows(self, definition: Definition, inputs: Inputs) -> torch.Tensor | None:
        """Tokens whose last expert is one of equals."""
        return probing.undecided(definition, inputs)

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """`flashinfer.fused_moe.trtllm_*`; float4 weights packed."""
        return fi_call.call_of(definition)


def _plain_swiglu(moe: MoeSpec) -> bool:
    """Whether an expert is W2 (silu(W_gate x) * W_up x), with x the hidden state."""
    return moe.gated and moe.activation in SWIGLU and not moe.latent_size


FAMILY = Moe()
