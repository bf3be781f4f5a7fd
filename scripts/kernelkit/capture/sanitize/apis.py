"""The FlashInfer APIs of which workloads are made: how each is read, and what it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernelkit.capture.sanitize import attention, experts, pointwise, recurrent
from kernelkit.capture.sanitize.calls import Call
from kernelkit.capture.sanitize.observed import Observed


@dataclass(frozen=True)
class Api:
    """`read` gives a call in the dataset's words; with `strict` every axis must be proven.

    `method` is the one that computes. `op_types` are those whose definitions may carry no tag of
    the API; `reads_values`: the call's own tensors are read (a wrapper's values are its plan's).
    """

    read: Callable[[Call, bool], Observed]
    op_types: tuple[str, ...]
    method: str = ""
    reads_values: bool = False


_RUN = "run"
APIS: dict[str, Api] = {
    "rmsnorm": Api(pointwise.norm, ("rmsnorm",)),
    "fused_add_rmsnorm": Api(pointwise.norm, ("rmsnorm",)),
    "gemma_rmsnorm": Api(pointwise.norm, ("rmsnorm",)),
    "gemma_fused_add_rmsnorm": Api(pointwise.norm, ("rmsnorm",)),
    "BatchDecodeWithPagedKVCacheWrapper": Api(attention.decode, ("gqa_paged",), _RUN),
    "BatchPrefillWithPagedKVCacheWrapper": Api(attention.paged_prefill, ("gqa_paged",), _RUN),
    "BatchPrefillWithRaggedKVCacheWrapper": Api(
        attention.ragged, ("gqa_ragged", "mla_ragged"), _RUN
    ),
    "BatchMLAPagedAttentionWrapper": Api(attention.mla, ("mla_paged",), _RUN),
    "top_k_sampling_from_probs": Api(pointwise.sampling, ("sampling",), reads_values=True),
    "top_p_sampling_from_probs": Api(pointwise.sampling, ("sampling",), reads_values=True),
    "top_k_top_p_sampling_from_probs": Api(pointwise.sampling, ("sampling",), reads_values=True),
    "apply_rope_with_cos_sin_cache_inplace": Api(pointwise.rope, ("rope",), reads_values=True),
    "gated_delta_rule_decode_pretranspose": Api(recurrent.gdn_decode, ("gdn",), reads_values=True),
    "gated_delta_rule_mtp": Api(recurrent.gdn_mtp, ("gdn",), reads_values=True),
    "chunk_gated_delta_rule": Api(recurrent.gdn_prefill, ("gdn",), reads_values=True),
    "selective_state_update": Api(recurrent.mamba, ("mamba_ssu",), reads_values=True),
    "trtllm_fp8_block_scale_moe": Api(experts.fp8, ("moe",)),
    "trtllm_fp8_per_tensor_scale_moe": Api(experts.fp8, ("moe",)),
    "trtllm_fp4_block_scale_moe": Api(experts.fp4, ("moe",)),
    "trtllm_fp4_block_scale_routed_moe": Api(experts.fp4, ("moe",), reads_values=True),
    "cutlass_fused_moe": Api(experts.cutlass, ("moe",), reads_values=True),
}
