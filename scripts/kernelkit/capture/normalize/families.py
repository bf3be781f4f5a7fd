"""Which FlashInfer API stands for which op family of this pack, and the dump's definition there.

The family gives name, interface and reference: a dump and a config of the same model agree because
they meet in the same place. What the dump says differently is drift, and is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kernelkit.capture.normalize import attention, experts, others
from kernelkit.capture.normalize.raw import UNKNOWN, RawDump
from kernelkit.capture.normalize.reading import Reading
from kernelkit.dataset.definition import Definition, DType
from kernelkit.ops.base import Variant

Builder = Callable[[Reading], "Variant | Definition"]

BUILDERS: dict[str, Builder] = {
    **dict.fromkeys(
        ("rmsnorm", "fused_add_rmsnorm", "gemma_rmsnorm", "gemma_fused_add_rmsnorm"),
        others.rmsnorm,
    ),
    **dict.fromkeys(
        ("top_k_sampling_from_probs", "top_p_sampling_from_probs",
         "top_k_top_p_sampling_from_probs"),
        others.sampling,
    ),
    "mm_bf16": others.gemm,
    "BatchDecodeWithPagedKVCacheWrapper": attention.gqa_paged,
    "BatchPrefillWithPagedKVCacheWrapper": attention.gqa_paged,
    "BatchPrefillWithRaggedKVCacheWrapper": attention.ragged,
    "BatchMLAPagedAttentionWrapper": attention.mla_paged,
    **dict.fromkeys((*others.STAGES, "gated_delta_rule_decode"), others.gdn),
    **dict.fromkeys(experts.KINDS, experts.moe),
    "cutlass_fused_moe": experts.cutlass,
    "apply_rope_with_cos_sin_cache": others.rope,
    "apply_rope_with_cos_sin_cache_inplace": others.rope,
    "selective_state_update": others.mamba,
}  # fmt: skip

# The template's name of an input that the family names otherwise.
ALIASES = {"rope": {"q": "query", "k": "key"}}
# Inputs whose type the family fixes on purpose: the reason is in the builders.
FIXED = {"gemm": ("A", "B"), "gdn": ("a", "b"), "sampling": ("top_k", "top_p"),
         "moe": ("gemm1_weights", "gemm2_weights", "routing_logits", "routing_bias")}  # fmt: skip
SHORT = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "float8_e4m3fn": "fp8",
         "float8_e5m2": "fp8e5m2", "int8": "i8", "int64": "i64", "int32": "i32"}  # fmt: skip


def builder(dump: RawDump) -> Builder | None:
    """What makes a definition of this dump; None where no family stands for the API."""
    if dump.api.endswith(".plan"):
        return None
    return BUILDERS.get(dump.function)


def definition_of(reading: Reading, build: Builder) -> Variant:
    """The family's definition in the dump's element types. Raises Refusal."""
    made = build(reading)
    variant = made if isinstance(made, Variant) else Variant(made)
    typed = retyped(variant.definition, dtypes(reading, variant.definition))
    if typed is variant.definition:
        return variant
    reading.notes.append(f"element types of its own: {typed.name}")
    return replace(variant, definition=typed, fallback_name=None)


def dtypes(reading: Reading, definition: Definition) -> dict[str, str]:
    """The dump's element type of each tensor where it differs from the family's."""
    aliases = ALIASES.get(definition.op_type, {})
    found = {}
    for name, spec in definition.inputs.items():
        theirs = reading.dump.dtype(aliases.get(name, name)) or UNKNOWN
        fixed = name in FIXED.get(definition.op_type, ()) or spec.shape is None
        if not fixed and theirs in SHORT and theirs != spec.dtype.value:
            found[name] = theirs
    return found


def retyped(definition: Definition, wanted: dict[str, str]) -> Definition:
    """The definition with other element types, told apart by a suffix of its name.

    One type for all 16-bit tensors is one suffix and changes the outputs, too; else each input
    that differs is named.
    """
    if not wanted:
        return definition
    wide = [n for n, s in definition.inputs.items() if s.dtype == DType.BFLOAT16]
    kinds = set(wanted.values())
    first = next(name for name, spec in definition.inputs.items() if spec.shape is not None)
    whole = len(kinds) == 1 and set(wanted) == set(wide) and first in wanted
    suffix = "_".join(f"{n}_{SHORT[t]}" for n, t in wanted.items())
    suffix = SHORT[next(iter(kinds))] if whole else suffix
    inputs = {
        n: s.model_copy(update={"dtype": DType(wanted[n])}) if n in wanted else s
        for n, s in definition.inputs.items()
    }
    outputs = definition.outputs
    if whole:
        kind = next(iter(kinds))
        outputs = {
            n: s.model_copy(update={"dtype": DType(kind)}) if s.dtype == DType.BFLOAT16 else s
            for n, s in outputs.items()
        }
    return definition.model_copy(
        update={"name": f"{definition.name}_{suffix}", "inputs": inputs, "outputs": outputs}
    )
