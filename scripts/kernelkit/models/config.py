"""config.json -> ModelSpec.

Each concern has a file of its own: architectures (the table of classes), layers (patterns),
attention and rope, mla, hybrid (GDN, Mamba), moe, quantization. This one puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from kernelkit.errors import ConfigError
from kernelkit.models import hybrid, mla, moe
from kernelkit.models.architectures import MAMBA_SSM, Architecture
from kernelkit.models.attention import read_attention, read_rope
from kernelkit.models.fields import Fields, Found, MissingFieldError
from kernelkit.models.layers import NEMOTRON_FIELDS, read_layers
from kernelkit.models.quantization import read_quantization
from kernelkit.models.recognise import HIDDEN, class_names, find_architecture, text_scope
from kernelkit.models.spec import Layer, ModelSpec, RopeSpec

T = TypeVar("T")

MOST_LAYERS = 10_000  # each is an object; published models have hundreds at most
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def parse_config(config: dict[str, Any], *, name: str | None = None) -> ModelSpec:
    """The architecture that a HuggingFace `config` describes, with the source of each value.

    `name` only heads error messages. Raises ConfigError for a config that is no language model's,
    lacks a field that has no class default, or contradicts itself.
    """
    try:
        return _parse(config)
    except ConfigError as error:
        if name is not None:
            error.what = f"{name}: {error.what}"
        raise


def _parse(config: Mapping[str, Any]) -> ModelSpec:
    text, prefix = text_scope(config)
    names = class_names(text) or class_names(config)
    kind = find_architecture(text, names)
    fields = Fields(text, prefix, config, kind)
    hidden = fields.integer("hidden_size", *HIDDEN)
    count = fields.integer("num_layers", *_LAYERS, otherwise=_pattern_length(fields))
    if count > MOST_LAYERS:
        raise ConfigError("too many layers", received=count, allowed=f"at most {MOST_LAYERS}")
    layers = read_layers(
        fields, count, has_experts=kind.pattern != "nemotron" and moe.has_experts(fields)
    )
    published = class_names(config) or names
    return ModelSpec(
        architecture=fields.note(
            "architecture",
            Found(published[0], "architectures") if published else fields.default(kind.name),
        ),
        model_type=_model_type(fields, config, kind),
        num_layers=count,
        hidden_size=hidden,
        vocab_size=_vocab(fields),
        layers=layers,
        **_norm(fields),
        **_mlp(fields, layers),
        tie_word_embeddings=_tied(fields),
        dtype=_dtype(fields),
        **_parts(fields, hidden, layers),
        sources=fields.sources
        | {f"undecided.{family}": why for family, why in sorted(fields.undecided.items())},
        undecided=tuple(sorted(fields.undecided)),
    )


def _model_type(fields: Fields, config: Mapping[str, Any], kind: Architecture) -> str:
    given = config.get("model_type")
    if isinstance(given, str):
        return fields.note("model_type", Found(given, "model_type"))
    known = kind.model_types[0] if kind.model_types else kind.config_class.split(".")[0]
    return fields.note("model_type", fields.default(known))


def _pattern_length(fields: Fields) -> Found[Any] | None:
    """num_hidden_layers of newer Nemotron-H configs: the length of their layer list."""
    if fields.architecture.pattern != "nemotron":
        return None
    found = fields.find(*NEMOTRON_FIELDS)
    if found is None or not isinstance(found.value, (str, list)):
        return None
    return Found(len(found.value), f"length of {found.source}")


def _vocab(fields: Fields) -> int:
    """vocab_size; mamba_ssm pads the embedding and the head, so that logits are wider."""
    size = fields.integer("vocab_size", "vocab_size")
    multiple = fields.optional_integer("vocab_size", "pad_vocab_size_multiple")
    if multiple is None:
        return size
    padded = -(-size // multiple) * multiple
    source = "vocab_size, rounded up to pad_vocab_size_multiple"
    return fields.note("vocab_size", Found(padded, source))


def _norm(fields: Fields) -> dict[str, Any]:
    """norm_kind and norm_eps; an unknown architecture's kind follows from how eps is spelled."""
    kind = fields.architecture
    found = fields.find(*kind.eps)
    if found is None and not kind.known:
        fields.undecide(("rmsnorm",), f"the config has no {' or '.join(kind.eps)}")
        return {"norm_kind": fields.note("norm_kind", Found("undecided", "no epsilon"))}
    eps = fields.number("norm_eps", *kind.eps)
    if kind.norm_kind == "generic":
        rms = "rms" in fields.sources["norm_eps"]
        guess = Found("rmsnorm" if rms else "layernorm", f"spelling of {found and found.source}")
        return {"norm_kind": fields.note("norm_kind", guess), "norm_eps": eps}
    plain = fields.find("rms_norm") if kind is MAMBA_SSM else None
    if plain is not None and plain.value is False:
        return {
            "norm_kind": fields.note("norm_kind", Found("layernorm", plain.source)),
            "norm_eps": eps,
        }
    norm_kind = fields.note("norm_kind", fields.default(kind.norm_kind))
    return {"norm_kind": norm_kind, "norm_eps": eps}


def _mlp(fields: Fields, layers: tuple[Layer, ...]) -> dict[str, Any]:
    """The dense MLP: its size (None without one), its gate, its activation."""
    kind = fields.architecture
    dense = any(layer.mlp == "dense" for layer in layers)
    # Where experts use intermediate_size, dense layers have another field, or there are none.
    other = {"llama4": ("intermediate_size_mlp",), "granite": ("shared_intermediate_size",)}
    names = other.get(kind.moe or "") or other.get(kind.pattern)
    names = names or ("intermediate_size", "d_intermediate", "n_inner")
    size = None
    if dense:
        size = fields.integer("intermediate_size", *names)
    elif kind.expert_size == "moe_intermediate_size" and kind.pattern != "mamba":
        size = fields.optional_integer("intermediate_size", "intermediate_size")
    activation = fields.text("activation", *moe.ACTIVATION, otherwise=fields.default("silu"))
    if not kind.known and activation not in ("silu", "swish"):
        fields.undecide(("gemm",), f"whether the MLP has a gate does not follow from {activation}")
    gated = fields.note("mlp_gated", fields.default(kind.mlp_gated))
    return {"intermediate_size": size, "mlp_gated": gated, "activation": activation}


def _tied(fields: Fields) -> bool:
    names = ("tie_word_embeddings", "tie_embeddings")
    return fields.flag("tie_word_embeddings", *names, otherwise=fields.default(False))


def _dtype(fields: Fields) -> str:
    default = Found("bfloat16", "not in the config: bfloat16, what serving uses")
    dtype = fields.text("dtype", "torch_dtype", "dtype", otherwise=default)
    return dtype.removeprefix("torch.")


def _parts(fields: Fields, hidden: int, layers: tuple[Layer, ...]) -> dict[str, Any]:
    """Attention, rope, MLA, DSA, GDN, Mamba, MoE, quantization: those that the layers have."""
    gqa = ("gqa_paged", "gqa_ragged")
    attention = _part(fields, "attention", gqa, lambda: read_attention(fields, hidden, layers))
    latent = _part(fields, "mla", ("mla_paged", "mla_ragged"), lambda: mla.read_mla(fields, layers))
    has_moe = any(layer.mlp == "moe" for layer in layers)

    def rope() -> RopeSpec | None:
        if latent is not None:
            return mla.read_mla_rope(fields, latent)
        if attention is None:
            return None
        return read_rope(fields, attention.head_dim, fields.sources["attention.head_dim"])

    return {
        "attention": attention,
        "mla": latent,
        "rope": _part(fields, "rope", ("rope",), rope),
        "dsa": _part(fields, "dsa", ("dsa_paged",), lambda: mla.read_dsa(fields, latent)),
        "gdn": _part(fields, "gdn", ("gdn",), lambda: hybrid.read_gdn(fields, layers)),
        "mamba": _part(
            fields, "mamba", ("mamba_ssu",), lambda: hybrid.read_mamba(fields, hidden, layers)
        ),
        "moe": _part(fields, "moe", ("moe",), lambda: moe.read_moe(fields) if has_moe else None),
        "quantization": read_quantization(fields, len(layers), moe=has_moe),
    }


def _part(fields: Fields, part: str, families: Sequence[str], read: Callable[[], T]) -> T | None:
    """One part; for an unknown architecture a missing field leaves its families undecided."""
    try:
        return read()
    except MissingFieldError as error:
        if fields.architecture.known:
            raise
        fields.undecide(families, error.what)
        for target in [key for key in fields.sources if key.startswith(f"{part}.")]:
            del fields.sources[target]
        return None
