"""Softmax attention: heads, head_dim, scale, q/k norm, window; and the rotary embedding."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from kernelkit.errors import ConfigError
from kernelkit.models.fields import Fields, Found
from kernelkit.models.spec import AttentionSpec, Layer, RopeSpec

_HEADS = ("num_attention_heads", "n_head")


def read_attention(fields: Fields, hidden: int, layers: tuple[Layer, ...]) -> AttentionSpec | None:
    """The attention of the layers that have one; None where none has."""
    mixers = {part for layer in layers for part in layer.mixer.split("+")}
    if not mixers & {"attention", "sliding_attention"}:
        return None
    heads = fields.integer("attention.num_qo_heads", *_HEADS)
    head_dim = _head_dim(fields, hidden, heads)
    return AttentionSpec(
        num_qo_heads=heads,
        num_kv_heads=_kv_heads(fields, heads),
        head_dim=head_dim,
        sm_scale=_scale(fields, head_dim),
        qk_norm=_qk_norm(fields),
        output_gate=_output_gate(fields),
        sliding_window=_window(fields, "sliding_attention" in mixers),
        logit_softcap=_softcap(fields),
        sinks=fields.note("attention.sinks", fields.default(fields.architecture.sinks)),
        chunk_size=fields.optional_integer("attention.chunk_size", "attention_chunk_size"),
    )


def _head_dim(fields: Fields, hidden: int, heads: int) -> int:
    """head_dim as given, else hidden_size / heads, which must come out even."""
    found = fields.find("head_dim", "attention_head_dim")
    # A class default yields to another spelling in the config (Nemotron-H: attention_head_dim).
    if found is not None and found.value is not None:
        return fields.integer("attention.head_dim", "head_dim", "attention_head_dim")
    if hidden % heads:
        raise ConfigError(
            f"{fields.architecture.name}: hidden_size does not divide by num_attention_heads, "
            "and the config has no head_dim",
            received=f"hidden_size {hidden}, num_attention_heads {heads}",
        )
    source = f"{fields.prefix}hidden_size / {fields.sources['attention.num_qo_heads']}"
    return fields.note("attention.head_dim", Found(hidden // heads, source))


def _kv_heads(fields: Fields, heads: int) -> int:
    absent = Found(heads, f"{fields.sources['attention.num_qo_heads']} (no num_key_value_heads)")
    count = fields.integer("attention.num_kv_heads", "num_key_value_heads", otherwise=absent)
    if heads % count:
        raise ConfigError(
            f"{fields.architecture.name}: num_attention_heads does not divide by "
            "num_key_value_heads",
            received=f"{heads} and {count}",
            allowed=f"a divisor of {heads}",
        )
    return count


def _scale(fields: Fields, head_dim: int) -> float:
    """What multiplies q.k: query_pre_attn_scalar**-0.5 (Gemma), attention_multiplier (Granite),
    else head_dim**-0.5, as in the transformers library's modelling code."""
    if fields.find("query_pre_attn_scalar") is not None:
        scalar = fields.number("attention.sm_scale", "query_pre_attn_scalar")
        fields.sources["attention.sm_scale"] += " ** -0.5"
        return scalar**-0.5
    if fields.find("attention_multiplier") is not None:
        return fields.number("attention.sm_scale", "attention_multiplier")
    source = f"{fields.sources['attention.head_dim']}, ** -0.5"
    return fields.note("attention.sm_scale", Found(head_dim**-0.5, source))


def _qk_norm(fields: Fields) -> str | None:
    kind = fields.architecture
    if not kind.known:
        off = fields.default(False)
        flag = fields.flag("attention.qk_norm", "use_qk_norm", "qk_norm", otherwise=off)
        return "per_head" if flag else None
    if kind.qk_norm is not None and kind.qk_norm_flag is not None:
        flag = fields.flag("attention.qk_norm", kind.qk_norm_flag, otherwise=fields.default(True))
        return kind.qk_norm if flag else None
    return fields.note("attention.qk_norm", fields.default(kind.qk_norm))


def _output_gate(fields: Fields) -> bool:
    default = fields.default(fields.architecture.output_gate)
    return fields.flag("attention.output_gate", "attn_output_gate", otherwise=default)


def _window(fields: Fields, slides: bool) -> int | None:
    return fields.integer("attention.sliding_window", "sliding_window") if slides else None


def _softcap(fields: Fields) -> float | None:
    found = fields.find("attn_logit_softcapping")
    if found is None or found.value is None:
        return None
    return fields.number("attention.logit_softcap", "attn_logit_softcapping")


def read_rope(fields: Fields, head_dim: int, source: str) -> RopeSpec | None:
    """The rotary embedding of a head of `head_dim` (from `source`); None for models without."""
    kind = fields.architecture
    if kind.rope == "none" or (kind.rope == "optional" and not _uses_rope(fields)):
        return None
    scaling = rope_scaling(fields)
    theta = _theta(fields, scaling)
    if theta is None:
        fields.undecide(("rope",), "the config has no rope_theta")
        return None
    name = next((n for n in ("rope_type", "type") if scaling and n in scaling.value), None)
    return RopeSpec(
        head_dim=fields.note("rope.head_dim", Found(head_dim, source)),
        rotary_dim=_rotary_dim(fields, scaling, head_dim),
        theta=theta,
        kind=_rope_kind(fields, scaling, name),
        is_neox=_is_neox(fields),
    )


def _uses_rope(fields: Fields) -> bool:
    found = fields.find("position_embedding_type")
    return found is not None and found.value == "rope"


def rope_scaling(fields: Fields) -> Found[Any] | None:
    """rope_parameters or rope_scaling; of parameters per layer kind, those of full attention."""
    found = fields.mapping("rope_parameters", "rope_scaling")
    if found is not None and isinstance(found.value.get("full_attention"), Mapping):
        return Found(found.value["full_attention"], f"{found.source}.full_attention")
    return found


def inner_field(scaling: Found[Any] | None, name: str) -> Found[Any] | None:
    """A field of the rope settings, None where it is unset."""
    value: Any = None if scaling is None else scaling.value.get(name)
    return None if value is None else Found(value, f"{scaling.source}.{name}" if scaling else name)


def _theta(fields: Fields, scaling: Found[Any] | None) -> float | None:
    inner = inner_field(scaling, "rope_theta")
    if inner is not None:
        return positive(fields, Found(fields.note("rope.theta", inner), inner.source))
    found = fields.find("rope_theta")
    if found is None or found.value is None:
        return None
    return fields.number("rope.theta", "rope_theta")


def positive(fields: Fields, found: Found[Any]) -> float:
    """`found` as a number above 0. Raises ConfigError for anything else."""
    value = found.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise fields.wrong(found, "a number above 0")
    if not 0 < value <= sys.float_info.max:  # no NaN, no integer beyond any float
        raise fields.wrong(found, "a finite number above 0")
    return float(value)


def _rotary_dim(fields: Fields, scaling: Found[Any] | None, head_dim: int) -> int:
    """rotary_dim, or head_dim * partial_rotary_factor, or head_dim."""
    if fields.find("rotary_dim") is not None:
        return fields.integer("rope.rotary_dim", "rotary_dim")
    factor = inner_field(scaling, "partial_rotary_factor") or fields.find("partial_rotary_factor")
    whole = Found(head_dim, f"{fields.prefix}head_dim")
    if factor is None or factor.value is None:
        return fields.note("rope.rotary_dim", whole)
    size = fields.check_integer(
        Found(int(min(head_dim * positive(fields, factor), 2.0**60)), factor.source), minimum=0
    )
    return fields.note("rope.rotary_dim", Found(size, f"head_dim * {factor.source}"))


def _rope_kind(fields: Fields, scaling: Found[Any] | None, name: str | None) -> str:
    found = inner_field(scaling, name) if name else None
    if found is None:
        found = Found("default", "no rope_scaling")
    if not isinstance(found.value, str):
        raise fields.wrong(found, "a string")
    return fields.note(
        "rope.kind", Found({"su": "longrope"}.get(found.value) or found.value, found.source)
    )


def _is_neox(fields: Fields) -> bool:
    interleaved = fields.default(fields.architecture.rope == "interleaved")
    return not fields.flag("rope.is_neox", "rope_interleave", otherwise=interleaved)
