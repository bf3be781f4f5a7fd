"""Multi-head latent attention and DeepSeek sparse attention."""

from __future__ import annotations

import math

from kernelkit.models.attention import inner_field, positive, read_rope, rope_scaling
from kernelkit.models.fields import Fields, Found
from kernelkit.models.spec import DsaSpec, Layer, MlaSpec, RopeSpec


def read_mla(fields: Fields, layers: tuple[Layer, ...]) -> MlaSpec | None:
    """The MLA ranks and head dims; None where no layer is MLA."""
    if not any(layer.mixer == "mla" for layer in layers):
        return None
    nope = fields.integer("mla.qk_nope_head_dim", "qk_nope_head_dim")
    rope = fields.integer("mla.qk_rope_head_dim", "qk_rope_head_dim")
    return MlaSpec(
        num_heads=fields.integer("mla.num_heads", "num_attention_heads"),
        q_lora_rank=fields.optional_integer("mla.q_lora_rank", "q_lora_rank"),
        kv_lora_rank=fields.integer("mla.kv_lora_rank", "kv_lora_rank"),
        qk_nope_head_dim=nope,
        qk_rope_head_dim=rope,
        v_head_dim=fields.integer("mla.v_head_dim", "v_head_dim"),
        sm_scale=_scale(fields, nope + rope),
    )


def _scale(fields: Fields, head_dim: int) -> float:
    """1 / sqrt(head_dim), times mscale**2 with mscale = 0.1 * mscale_all_dim * ln(factor) + 1.

    Source: YaRN's attention temperature (arXiv 2309.00071, eq. 22) as SGLang 0.5.14 applies it
    to MLA (yarn_get_mscale, compute_mla_mscale_scaling): only where rope_scaling sets
    mscale_all_dim and a factor above 1.
    """
    base = head_dim**-0.5
    source = "(qk_nope_head_dim + qk_rope_head_dim) ** -0.5"
    scaling = rope_scaling(fields)
    weight = inner_field(scaling, "mscale_all_dim")
    factor = inner_field(scaling, "factor")
    if weight is None or factor is None or not weight.value:
        return fields.note("mla.sm_scale", Found(base, source))
    scale = positive(fields, factor)
    mscale = 0.1 * positive(fields, weight) * math.log(scale) + 1.0 if scale > 1 else 1.0
    source += f" * mscale ** 2, of {weight.source} and {factor.source}"
    return fields.note("mla.sm_scale", Found(base * mscale * mscale, source))


def read_mla_rope(fields: Fields, mla: MlaSpec) -> RopeSpec | None:
    """The rotary embedding of MLA's rope part, all of whose dimensions rotate."""
    return read_rope(fields, mla.qk_rope_head_dim, fields.sources["mla.qk_rope_head_dim"])


def read_dsa(fields: Fields, mla: MlaSpec | None) -> DsaSpec | None:
    """The sparse-attention indexer; None where the config has none."""
    if mla is None or fields.find("index_topk") is None:
        return None
    return DsaSpec(
        index_n_heads=fields.integer("dsa.index_n_heads", "index_n_heads"),
        index_head_dim=fields.integer("dsa.index_head_dim", "index_head_dim"),
        index_topk=fields.integer("dsa.index_topk", "index_topk"),
    )
