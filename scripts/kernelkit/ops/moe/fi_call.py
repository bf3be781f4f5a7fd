"""The calls that show a definition to FlashInfer's trace templates (0.6.12, 0.7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops import base
from kernelkit.ops.flashinfer_call import FlashInferCall
from kernelkit.ops.moe.forms import APIS, BF16, FP4, FP4_ROUTED, FP8_TENSOR, METHODS, Form, form_of

if TYPE_CHECKING:
    import torch

SEQ_LEN = 4
PACKED = 2  # float4 values in a byte
SCALED = 32  # float4 values that share an MXFP4 scale


def call_of(definition: Definition) -> FlashInferCall:
    """The definition's tensors on the meta device, and the scalars that it has as constants."""
    form = form_of(definition)
    kwargs = {name: _meta(definition, name) for name in definition.inputs}
    if form.kind == BF16:
        kwargs |= {"output_dtype": base.torch_dtype("bfloat16"), "quant_scales": None}
        return FlashInferCall(f"flashinfer.fused_moe.{APIS[BF16]}", kwargs)
    kwargs |= _scalars(form)
    if form.routing is not None and "routing_bias" not in kwargs:
        kwargs["routing_bias"] = None
    differs: dict[str, str] = {}
    if form.kind == FP8_TENSOR:
        kwargs["use_routing_scales_on_input"] = form.routing == "llama4"
    if form.kind in (FP4, FP4_ROUTED):
        kwargs |= _packed(form)
        reason = "the dataset holds the weights dequantised, FlashInfer packed"
        differs = {"gemm1_weights": reason, "gemm2_weights": reason}
    return FlashInferCall(f"flashinfer.fused_moe.{APIS[form.kind]}", kwargs, differs=differs)


def _meta(definition: Definition, name: str) -> torch.Tensor | None:
    import torch

    shape = definition.shape_of(name, {"seq_len": SEQ_LEN})
    if shape is None:
        return None
    dtype = base.torch_dtype(definition.inputs[name].dtype.value)
    return torch.empty(shape, dtype=dtype, device="meta")


def _scalars(form: Form) -> dict[str, Any]:
    grouped = form.routing == "ds"
    scalars: dict[str, Any] = {
        "num_experts": form.num_experts,
        "top_k": form.top_k,
        "n_group": form.n_group if grouped else None,
        "topk_group": form.topk_group if grouped else None,
        "intermediate_size": form.intermediate_size,
        "local_expert_offset": 0,
        "local_num_experts": form.num_local_experts,
        "routed_scaling_factor": 2.5 if grouped else None,
    }
    if form.routing is not None:
        scalars["routing_method_type"] = METHODS[form.routing]
    return scalars


def _packed(form: Form) -> dict[str, Any]:
    """MXFP4 weights: two values a byte, one scale byte for 32."""
    import torch

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(form.num_local_experts, *shape, dtype=torch.uint8, device="meta")

    hidden, inner = form.hidden_size, form.intermediate_size
    return {
        "gemm1_weights": empty(2 * inner, hidden // PACKED),
        "gemm1_weights_scale": empty(2 * inner, hidden // SCALED),
        "gemm2_weights": empty(hidden, inner // PACKED),
        "gemm2_weights_scale": empty(hidden, inner // SCALED),
    }
