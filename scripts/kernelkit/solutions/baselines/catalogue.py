"""The baselines: for each family of definitions the best implementation that others maintain.

A row names a source in `sources/`, which defines `compute`, with the inputs of its definitions as
keyword arguments, and may define `prepare`, with those that a plan depends on. `build` makes `run`
and `setup` of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_of

FLASHINFER = "flashinfer-python>=0.6.12"
Constants = Callable[[Definition], dict[str, Any]]


def _none(definition: Definition) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Baseline:
    """One source and the definitions that it is right for.

    `provider` is whose kernel it calls; `apis` are the functions and classes of FlashInfer that it
    calls, dotted; `why` says why another provider than FlashInfer, or another API than the tag's.
    """

    source: str
    op_type: str
    patterns: tuple[str, ...]
    description: str
    provider: str = "flashinfer"
    apis: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    constants: Constants = _none
    hardware: tuple[str, ...] = ("cuda",)
    why: str = ""

    def serves(self, definition: Definition) -> bool:
        """Whether the source is right for the definition."""
        return definition.op_type == self.op_type and any(
            fnmatchcase(definition.name, pattern) for pattern in self.patterns
        )

    def calls(self, definition: Definition) -> tuple[str, ...]:
        """The APIs that it calls for the definition: the tag's alone, where it is one of them."""
        tag = fi_api_of(definition.tags)
        return (tag,) if tag in self.apis else self.apis

    @property
    def dependencies(self) -> list[str]:
        """Packages that a solution names."""
        return ["torch", FLASHINFER] if self.provider == "flashinfer" else ["torch"]


def _gemma(definition: Definition) -> dict[str, Any]:
    return {"gemma": definition.name.startswith("gemma_")}


def _neox(definition: Definition) -> dict[str, Any]:
    return {"neox": "_neox_style_" in definition.name}


def _stage(definition: Definition) -> dict[str, Any]:
    return {"decode": "_decode_" in definition.name}


def _ragged(definition: Definition) -> dict[str, Any]:
    axes = definition.const_axes
    both = axes.get("head_dim")
    return {"head_dim_qk": axes.get("qk_dim", both), "head_dim_vo": axes.get("vo_dim", both)}


def _experts(definition: Definition) -> dict[str, Any]:
    from kernelkit.ops.moe.forms import form_of

    form = form_of(definition)
    return {"routing": form.routing, "num_experts": form.num_experts, "n_group": form.n_group,
            "topk_group": form.topk_group}  # fmt: skip


_PLANS = ("plans.py",)
_MOE: dict[str, Any] = {
    "op_type": "moe",
    "apis": ("flashinfer.fused_moe.cutlass_fused_moe",),
    "files": ("experts.py",),
    "constants": _experts,
    "why": "the trtllm functions need sm_100; CUTLASS is FlashInfer's kernel for sm_90",
}
_MLA = "flashinfer.mla.BatchMLAPagedAttentionWrapper"

BASELINES = (
    Baseline(
        "rmsnorm", "rmsnorm", ("rmsnorm_h*", "gemma_rmsnorm_h*"), "FlashInfer's RMSNorm.",
        apis=("flashinfer.norm.rmsnorm", "flashinfer.norm.gemma_rmsnorm"), constants=_gemma,
    ),
    Baseline(
        "fused_add_rmsnorm", "rmsnorm", ("fused_add_rmsnorm_h*", "gemma_fused_add_rmsnorm_h*"),
        "FlashInfer's fused addition and RMSNorm, on copies: it works in place.",
        apis=("flashinfer.norm.fused_add_rmsnorm", "flashinfer.norm.gemma_fused_add_rmsnorm"),
        constants=_gemma,
    ),
    Baseline(
        "gqa_paged_decode", "gqa_paged", ("gqa_paged_decode_*",),
        "FlashInfer's BatchDecodeWithPagedKVCacheWrapper, planned in setup().",
        apis=("flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper",), files=_PLANS,
    ),
    Baseline(
        "gqa_paged_prefill", "gqa_paged", ("gqa_paged_prefill_causal_*",),
        "FlashInfer's BatchPrefillWithPagedKVCacheWrapper, planned in setup().",
        apis=("flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper",), files=_PLANS,
    ),
    Baseline(
        "ragged_prefill", "gqa_ragged", ("gqa_ragged_prefill_causal_*",),
        "FlashInfer's BatchPrefillWithRaggedKVCacheWrapper, planned in setup().",
        apis=("flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper",), files=_PLANS,
        constants=_ragged,
    ),
    Baseline(
        "ragged_prefill", "mla_ragged", ("mla_ragged_prefill_causal_*",),
        "FlashInfer's BatchPrefillWithRaggedKVCacheWrapper, planned in setup().",
        apis=("flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper",), files=_PLANS,
        constants=_ragged,
    ),
    Baseline(
        "mla_paged", "mla_paged", ("mla_paged_decode_*", "mla_paged_prefill_causal_*"),
        "FlashInfer's BatchMLAPagedAttentionWrapper, planned in setup().",
        apis=(_MLA,), files=_PLANS, constants=_stage,
    ),
    Baseline(
        "dsa_sparse_attention", "dsa_paged", ("dsa_sparse_attention_*",),
        "FlashInfer's BatchMLAPagedAttentionWrapper over the chosen tokens, planned in setup().",
        apis=(_MLA,), files=_PLANS,
        why="trtllm_batch_decode_with_kv_cache_mla needs sm_100",
    ),
    Baseline(
        "dsa_topk_indexer_fp8", "dsa_paged", ("dsa_topk_indexer_fp8_*",),
        "The indexer in plain PyTorch, request by request.", provider="torch",
        hardware=("cpu", "cuda"), why="FlashInfer has no indexer for sm_90",
    ),
    Baseline(
        "sampling", "sampling", ("top_*_sampling_from_probs_v*",),
        "FlashInfer's sampling from probabilities, without a sort.",
        apis=(
            "flashinfer.sampling.top_k_sampling_from_probs",
            "flashinfer.sampling.top_p_sampling_from_probs",
            "flashinfer.sampling.top_k_top_p_sampling_from_probs",
        ),
    ),
    Baseline(
        "rope", "rope", ("rope_with_cos_sin_cache_*_style_*",),
        "FlashInfer's rotary embedding, with outputs of its own.",
        apis=("flashinfer.rope.apply_rope_with_cos_sin_cache",), constants=_neox,
        why="the form of the tag's API that is not in place",
    ),
    Baseline(
        "gdn_decode", "gdn", ("gdn_decode_*_k_last",),
        "FlashInfer's gated_delta_rule_decode_pretranspose, on a copy of the state.",
        apis=("flashinfer.gdn_decode.gated_delta_rule_decode_pretranspose",),
    ),
    Baseline(
        "gdn_mtp", "gdn", ("gdn_mtp_*_k_last",), "FlashInfer's gated_delta_rule_mtp.",
        apis=("flashinfer.gdn_decode.gated_delta_rule_mtp",),
    ),
    Baseline(
        "gdn_prefill", "gdn", ("gdn_prefill_*_k_last",),
        "FlashInfer's chunk_gated_delta_rule, gates computed in torch.",
        apis=("flashinfer.gdn_prefill.chunk_gated_delta_rule",),
    ),
    Baseline(
        "mamba_ssu", "mamba_ssu", ("mamba_ssu_decode_*",),
        "FlashInfer's selective_state_update, on a copy of the pool.",
        apis=("flashinfer.mamba.selective_state_update",),
    ),
    Baseline(
        "gemm", "gemm", ("gemm_n*_k*",), "cuBLAS through torch's linear.", provider="torch",
        hardware=("cpu", "cuda"), why="FlashInfer has no 16-bit GEMM for sm_90",
    ),
    Baseline(
        "moe_fp8_block_scale", patterns=("moe_fp8_block_scale_*",),
        description="Routing in torch, FlashInfer's CUTLASS experts with float8 block scales.",
        **_MOE,
    ),
    Baseline(
        "moe_fp8_per_tensor", patterns=("trtllm_fp8_per_tensor_scale_moe_*",),
        description="Routing in torch, FlashInfer's CUTLASS experts in bfloat16.", **_MOE,
    ),
    Baseline(
        "moe_fp4_block_scale", patterns=("trtllm_fp4_block_scale_moe_*",),
        description="Routing in torch, FlashInfer's CUTLASS experts in bfloat16.", **_MOE,
    ),
    Baseline(
        "moe_fp4_routed", patterns=("trtllm_fp4_block_scale_routed_moe_*",),
        description="FlashInfer's CUTLASS experts in bfloat16.", **_MOE,
    ),
    Baseline(
        "moe_bf16", "moe", ("cutlass_fused_moe_e*",), "FlashInfer's CUTLASS experts in 16 bits.",
        apis=_MOE["apis"], files=_MOE["files"], constants=_experts,
    ),
)  # fmt: skip


def serving(definition: Definition) -> list[Baseline]:
    """The baselines for a definition, FlashInfer's first."""
    return [baseline for baseline in BASELINES if baseline.serves(definition)]
