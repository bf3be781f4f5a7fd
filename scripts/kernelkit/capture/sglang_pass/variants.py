"""Which engine arguments and variables make a family of kernels visible.

base     the defaults of a pass: decode, ragged prefill, norms, joint sampling
paged    prefill through the paged wrapper (GQA: a variable; MLA: an engine argument)
linear   gated delta nets through FlashInfer
mamba    the Mamba-2 state update through FlashInfer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelkit.models.spec import ModelSpec

VARIANTS = ("base", "paged", "linear", "mamba")
FLASHINFER = "flashinfer"

# Both CUDA graph switches are off: what a graph replays makes no Python call.
ENGINE = {
    "disable_cuda_graph": True,
    "disable_prefill_cuda_graph": True,
    "disable_decode_cuda_graph": True,
    "sampling_backend": FLASHINFER,
    "grammar_backend": "none",
    "skip_tokenizer_init": True,
    "skip_server_warmup": True,
    "disable_radix_cache": True,
    "disable_overlap_schedule": True,
    "enforce_disable_flashinfer_allreduce_fusion": True,
    "disable_flashinfer_autotune": True,
    "enable_multimodal": False,
    "log_level": "info",
    "random_seed": 1234,
}
ENVIRONMENT = {
    "FLASHINFER_DISABLE_VERSION_CHECK": "1",
    "SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Flags:
    """What a pass makes visible: `routing.absence` reads it."""

    attention: bool = True
    paged: bool = False
    ragged: bool = True
    linear_attention: bool = False
    mamba: bool = False
    deterministic: bool = False


@dataclass(frozen=True)
class Variant:
    """One way to run a model."""

    name: str
    flags: Flags
    engine: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """What a person asked for; None: as the variant has it."""

    attention_backend: str = FLASHINFER
    linear_attn_backend: str | None = None
    moe_runner_backend: str | None = None
    quantization: str | None = None
    deterministic: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


def variants(spec: ModelSpec, choices: Choices, *, refused: bool) -> list[Variant]:
    """The variants that show another kernel of this model; the first is `base`.

    `refused`: SGLang refuses FlashInfer attention; its own choice is then left to it.
    """
    attention = choices.attention_backend if not refused else None
    is_ours = attention == FLASHINFER
    common = _common(choices, attention)
    deterministic = choices.deterministic
    base = Flags(attention=is_ours, ragged=not deterministic, paged=deterministic,
                 linear_attention=choices.linear_attn_backend == FLASHINFER,
                 deterministic=deterministic)  # fmt: skip
    made = [Variant("base", base, common)]
    if is_ours and not deterministic and (spec.attention or spec.mla):
        made.append(_paged(spec, common))
    if spec.gdn is not None and choices.linear_attn_backend is None:
        names = ("linear_attn_decode_backend", "linear_attn_prefill_backend")
        engine = {**common, **dict.fromkeys(names, FLASHINFER)}
        made.append(Variant("linear", Flags(is_ours, linear_attention=True), engine))
    if spec.mamba is not None:
        # SGLang's own default is float32, whatever the checkpoint's type
        dtype = {"mamba_ssm_dtype": spec.mamba.state_dtype}
        engine = {**dtype, **common, "mamba_backend": FLASHINFER}
        made.append(Variant("mamba", Flags(is_ours, mamba=True), engine))
    return made


def _paged(spec: ModelSpec, common: dict[str, Any]) -> Variant:
    flags = Flags(paged=True, ragged=False)
    if spec.mla is not None:
        return Variant("paged", flags, {**common, "flashinfer_mla_disable_ragged": True})
    return Variant("paged", flags, common, {"SGLANG_FLASHINFER_USE_PAGED": "1"})


def _common(choices: Choices, attention: str | None) -> dict[str, Any]:
    asked = {
        "attention_backend": attention,
        "linear_attn_backend": choices.linear_attn_backend,
        "moe_runner_backend": choices.moe_runner_backend,
        "quantization": choices.quantization,
    }
    engine = {**ENGINE, **{name: value for name, value in asked.items() if value is not None}}
    if choices.deterministic:
        engine.pop("sampling_backend")
        engine["enable_deterministic_inference"] = True
    return {**engine, **choices.extra}
