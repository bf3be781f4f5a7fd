"""Whose kernel a call is, which FlashInfer API stands behind it, and which op type it serves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from kernelkit.dataset.tags import normalize_api
from kernelkit.models.spec import ModelSpec
from kernelkit.sglang.interpret.machine import Event, Site

# Folders whose functions are kernels; a call that enters one is the call of a kernel.
_KERNELS = re.compile(r"sglang/(jit_kernel|kernels)/|/triton_ops/|/layers/attention/fla/")

# sgl-kernel functions that hand on to FlashInfer (sgl_kernel/elementwise.py and sampling.py of
# sglang-kernel 0.4.4 and 0.4.10), except under torch.compile.
FORWARDED = {
    **{name: f"flashinfer.norm.{name}" for name in
       ("rmsnorm", "fused_add_rmsnorm", "gemma_rmsnorm", "gemma_fused_add_rmsnorm")},
    "top_k_renorm_probs": "flashinfer.sampling.top_k_renorm_probs",
    "top_k_renorm_prob": "flashinfer.sampling.top_k_renorm_probs",
    "top_p_renorm_probs": "flashinfer.sampling.top_p_renorm_probs",
    "top_p_renorm_prob": "flashinfer.sampling.top_p_renorm_probs",
}  # fmt: skip

# FlashInfer APIs by last word: the module that defines them, and the op type. SGLang imports some
# from the top package.
APIS: dict[str, tuple[str, str | None]] = {
    "BatchDecodeWithPagedKVCacheWrapper": ("flashinfer.decode", "gqa_paged"),
    "BatchPrefillWithPagedKVCacheWrapper": ("flashinfer.prefill", "gqa_paged"),
    "BatchPrefillWithRaggedKVCacheWrapper": ("flashinfer.prefill", "gqa_ragged"),
    "BatchMLAPagedAttentionWrapper": ("flashinfer.mla", "mla_paged"),
    "trtllm_batch_decode_with_kv_cache_mla": ("flashinfer.mla", "mla_paged"),
    "trtllm_batch_decode_with_kv_cache": ("flashinfer.decode", "gqa_paged"),
    "trtllm_batch_context_with_kv_cache": ("flashinfer.prefill", "gqa_paged"),
    "selective_state_update": ("flashinfer.mamba", "mamba_ssu"),
    "merge_state": ("flashinfer.cascade", None),
    "merge_states": ("flashinfer.cascade", None),
}

_OPS = (
    (r"(gemma_)?(fused_add_)?rmsnorm(_quant)?", "rmsnorm"),
    (r"(top_k|top_p|min_p|top_k_top_p)_(sampling_from_\w+|renorm_\w+|mask_\w+)", "sampling"),
    (r"gated_delta_rule_\w+|chunk_gated_delta_rule", "gdn"),
    (r"cutlass_fused_moe|trtllm_(fp\w+|bf16|mxint4)\w*_moe|\w*fused_moe\w*|b12x_fused_moe", "moe"),
    (r"apply_(llama31_)?rope\w*|mla_rope_quantize\w*", "rope"),
    (r"top_k_(page_table|ragged)_transform", "dsa_paged"),
)

_TORCH = frozenset(
    "linear matmul mm bmm addmm baddbmm einsum _scaled_mm _grouped_mm scaled_dot_product_attention "
    "multinomial argmax topk layer_norm rms_norm".split()
)
_PROVIDERS = {
    "flashinfer": "flashinfer", "sgl_kernel": "sgl-kernel", "deep_gemm": "deep_gemm",
    "flash_mla": "flash_mla", "sgl_flash_mla": "flash_mla", "flash_attn": "flash_attn",
    "flash_attn_interface": "flash_attn", "aiter": "aiter", "vllm": "vllm",
    "causal_conv1d": "causal_conv1d", "triton_kernels": "triton", "jit": "jit",
    "fla": "triton",
}  # fmt: skip
# Helpers of these packages that launch no kernel.
_HELPERS = re.compile(
    r".*\.(get_\w+|is_\w+|has_\w+|autotune|shuffle_\w+|reorder_\w+|block_scale_interleave|"
    r"next_power_of_2|cdiv|register_\w+|prefill_segment\w*|set_\w+|\w*_size|\w*workspace\w*|"
    r"reset|free|end_forward|append|copy_|fill_|zero_|to|view|clone|items|keys|values)"
)


@dataclass(frozen=True)
class Kernel:
    """One recorded call, classified."""

    provider: str
    symbol: str
    site: Site
    fi_api: str | None


def classify(event: Event) -> Kernel | None:
    """Whose kernel an event is; None for a call that launches none."""
    entered = _entered(event.chain)
    if event.kind != "external" or event.symbol.startswith("jit"):
        provider = "jit" if event.kind == "external" else event.kind
        if entered is None:
            return Kernel(provider, event.symbol, event.chain[-1], None)
        return Kernel(provider, entered[1], entered[0], None)
    top, _, rest = event.symbol.partition(".")
    if event.symbol.startswith("torch."):
        return _of_torch(event)
    provider = _PROVIDERS.get(top)
    if provider is None or not rest or _HELPERS.fullmatch(event.symbol):
        return None
    return Kernel(provider, event.symbol, event.chain[-1], flashinfer_api(event.symbol))


def _of_torch(event: Event) -> Kernel | None:
    words = event.symbol.split(".")
    if words[:2] == ["torch", "ops"] and len(words) > 3:
        provider = {"sgl_kernel": "sgl-kernel"}.get(words[2], "torch.ops")
        return Kernel(provider, event.symbol, event.chain[-1], None)
    if words[-1] in _TORCH and len(words) <= 4:
        return Kernel("torch", event.symbol, event.chain[-1], None)
    return None


def _entered(chain: tuple[Site, ...]) -> tuple[Site, str] | None:
    """Where a call enters a kernel folder, and the dotted function that it enters."""
    for call, inside in zip(chain, chain[1:], strict=False):
        if not _is_kernel_file(call.file) and _is_kernel_file(inside.file):
            dotted = inside.file.removesuffix(".py").replace("/", ".")
            return call, f"{dotted}.{inside.function}"
    return None


@cache
def _is_kernel_file(file: str) -> bool:
    return _KERNELS.search(file) is not None


def flashinfer_api(symbol: str) -> str | None:
    """The FlashInfer API of a call, directly or through sgl-kernel; dotted, without the method."""
    top, _, _ = symbol.partition(".")
    last = symbol.rsplit(".", 1)[-1]
    if top == "sgl_kernel":
        return FORWARDED.get(last)
    if top != "flashinfer":
        return None
    words = symbol.split(".")
    wrapper = next((w for w in words[1:] if w[:1].isupper()), None)
    name = wrapper or last
    if name in APIS:
        return f"{APIS[name][0]}.{name}"
    return normalize_api(".".join(words[: words.index(name) + 1]))


def op_type(kernel: Kernel, layer_class: str, spec: ModelSpec) -> str | None:
    """The dataset's op type that the kernel serves; None where it has none."""
    last = (kernel.fi_api or kernel.symbol).rsplit(".", 1)[-1]
    if kernel.fi_api and last in APIS:
        found = APIS[last][1]
        return "mla_ragged" if found == "gqa_ragged" and spec.mla else found
    for pattern, op in _OPS:
        if re.fullmatch(pattern, last):
            return op
    return None if kernel.fi_api else _by_layer(layer_class, kernel, spec)


def _by_layer(layer_class: str, kernel: Kernel, spec: ModelSpec) -> str | None:
    if re.search(r"RMSNorm", layer_class) and "norm" in kernel.symbol:
        return "rmsnorm"
    if re.search(r"Linear$|LMHead$", layer_class) and "Radix" not in layer_class:
        return "gemm" if _is_plain_gemm(kernel) else None
    if layer_class in ("LogitsProcessor", "torch.nn.Linear"):
        return "gemm" if _is_plain_gemm(kernel) else None
    if layer_class == "RadixAttention":
        return _attention(spec)
    if layer_class == "RadixLinearAttention" and spec.gdn:
        return "gdn"
    if re.search(r"RotaryEmbedding", layer_class) and "rope" in kernel.symbol:
        return "rope"
    if re.search(r"MoE$", layer_class) and "moe" in kernel.symbol:
        return "moe"
    if "selective_state_update" in kernel.symbol:
        return "mamba_ssu"
    return "dsa_paged" if layer_class.startswith("Indexer") else None


def _is_plain_gemm(kernel: Kernel) -> bool:
    """Whether it is the dataset's gemm: 16-bit A @ B.T. Quantized GEMMs are other kernels."""
    return kernel.provider == "torch" and kernel.symbol.endswith(("matmul", "linear", ".mm"))


def _attention(spec: ModelSpec) -> str | None:
    if spec.dsa:
        return "dsa_paged"
    return "mla_paged" if spec.mla else "gqa_paged"
