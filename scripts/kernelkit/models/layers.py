"""Which token mixer and which MLP each layer has: explicit lists, and where the experts are."""

from __future__ import annotations

from typing import Any

from kernelkit.errors import ConfigError
from kernelkit.models.fields import Fields, Found
from kernelkit.models.patterns import PATTERNS, each
from kernelkit.models.spec import Layer

# The words of layer_types / layers_block_type -> mixer. "linear" depends on the architecture.
KINDS = {
    "full_attention": "attention",
    "attention": "attention",
    "chunked_attention": "attention",  # the window is attention.chunk_size
    "sliding_attention": "sliding_attention",
    "linear_attention": "linear",
    "mamba": "mamba",
    "mamba2": "mamba",
    "indexed_attention": "mla",
    "hybrid": "attention+mamba",
}
# Nemotron-H: one block is one mixer or one MLP, as a letter or as a word.
BLOCKS = {
    "M": Layer("mamba", "none"),
    "*": Layer("attention", "none"),
    "-": Layer("none", "dense"),
    "E": Layer("none", "moe"),
}
BLOCK_WORDS = {
    "mamba": "M", "linear_attention": "M", "attention": "*", "full_attention": "*",
    "mlp": "-", "moe": "E",
}  # fmt: skip
NEMOTRON_FIELDS = ("hybrid_override_pattern", "layers_block_type", "layer_types")


def read_layers(fields: Fields, count: int, *, has_experts: bool) -> tuple[Layer, ...]:
    """All `count` layers in order. Raises ConfigError where a list is not `count` long."""
    if fields.architecture.pattern == "nemotron":
        return _nemotron(fields, count)
    mixers, source = _mixers(fields, count)
    mlps, mlp_source = _mlps(fields, count, has_experts)
    fields.note("layers", Found(None, f"mixers: {source}; MLPs: {mlp_source}"))
    return tuple(Layer(mixer, mlp) for mixer, mlp in zip(mixers, mlps, strict=True))


def _mixers(fields: Fields, count: int) -> tuple[list[str], str]:
    listed = fields.items("layer_types", "layers_block_type")
    if listed is not None and fields.architecture.pattern != "mla":
        _check_length(fields, listed, count)
        return [_mixer(fields, word, listed) for word in listed.value], listed.source
    return PATTERNS[fields.architecture.pattern](fields, count)


def _mixer(fields: Fields, word: object, listed: Found[Any]) -> str:
    kind = KINDS.get(word) if isinstance(word, str) else None
    if kind is None and fields.architecture.known:
        raise fields.wrong(Found(word, f"an entry of {listed.source}"), ", ".join(KINDS))
    if kind is None or (kind == "linear" and fields.architecture.linear == "generic"):
        fields.undecide(
            ("gdn", "mamba_ssu"), f"{listed.source} has {word!r}, whose kernel is not known"
        )
        return "none"
    return fields.architecture.linear if kind == "linear" else kind


def _check_length(fields: Fields, listed: Found[Any], count: int) -> None:
    if len(listed.value) != count:
        raise ConfigError(
            f"{fields.architecture.name}: {listed.source} and num_hidden_layers disagree",
            received=f"{len(listed.value)} entries, {count} layers",
            allowed="one entry per layer",
        )


def _nemotron(fields: Fields, count: int) -> tuple[Layer, ...]:
    found = fields.find(*NEMOTRON_FIELDS)
    if found is None or found.value is None:
        raise fields.missing(*NEMOTRON_FIELDS)
    if not isinstance(found.value, (str, list)):
        raise fields.wrong(found, "a string of M * - E, or a list of words")
    _check_length(fields, found, count)
    fields.note("layers", found)
    return tuple(_block(fields, entry, found) for entry in found.value)


def _block(fields: Fields, entry: object, found: Found[Any]) -> Layer:
    letter = BLOCK_WORDS.get(entry, entry) if isinstance(entry, str) else None
    if letter not in BLOCKS:
        allowed = f"{', '.join(BLOCKS)} or {', '.join(BLOCK_WORDS)}"
        raise fields.wrong(Found(entry, f"an entry of {found.source}"), allowed)
    return BLOCKS[letter]


def _mlps(fields: Fields, count: int, has_experts: bool) -> tuple[list[str], str]:
    if fields.architecture.pattern == "mamba":
        size = fields.find("d_intermediate")
        dense = size is not None and size.value
        return ["dense" if dense else "none"] * count, size.source if size else "Mamba-2"
    if not has_experts:
        return ["dense"] * count, "no experts"
    for rule in (_mlp_listed, _mlp_leading, _mlp_interleaved, _mlp_sparse_step):
        placed = rule(fields, count)
        if placed is not None:
            return placed
    return ["moe"] * count, "experts in all layers"


def _mlp_listed(fields: Fields, count: int) -> tuple[list[str], str] | None:
    """mlp_layer_types ("dense", "sparse"), or moe_layers (indices)."""
    words = fields.items("mlp_layer_types")
    if words is not None:
        _check_length(fields, words, count)
        return ["moe" if word == "sparse" else "dense" for word in words.value], words.source
    indices = fields.items("moe_layers")
    if indices is None:
        return None
    return ["moe" if i in indices.value else "dense" for i in range(count)], indices.source


def _mlp_leading(fields: Fields, count: int) -> tuple[list[str], str] | None:
    """The first k layers dense, then each n-th MoE (DeepSeek, GLM)."""
    if fields.find("first_k_dense_replace") is None:
        return None
    first = fields.integer("layers", "first_k_dense_replace", minimum=0)
    source = fields.sources["layers"]
    step = fields.integer("layers", "moe_layer_freq", otherwise=fields.default(1))
    kinds = ["moe" if i >= first and i % step == 0 else "dense" for i in range(count)]
    return kinds, f"{source}, {fields.sources['layers']}"


def _mlp_interleaved(fields: Fields, count: int) -> tuple[list[str], str] | None:
    """Each n-th layer MoE; 0 means all (Llama-4)."""
    if fields.find("interleave_moe_layer_step") is None:
        return None
    step = fields.integer("layers", "interleave_moe_layer_step", minimum=0)
    return each(count, step or 1, "moe", "dense"), fields.sources["layers"]


def _mlp_sparse_step(fields: Fields, count: int) -> tuple[list[str], str] | None:
    """Each n-th layer MoE but mlp_only_layers (Qwen)."""
    if fields.find("decoder_sparse_step") is None and fields.find("mlp_only_layers") is None:
        return None
    step = fields.integer("layers", "decoder_sparse_step", otherwise=fields.default(1))
    dense = fields.items("mlp_only_layers")
    kinds = each(count, step, "moe", "dense")
    for index in dense.value if dense else ():
        if fields.check_integer(Found(index, "an entry of mlp_only_layers"), 0) < count:
            kinds[index] = "dense"
    return kinds, f"{fields.sources['layers']}, mlp_only_layers"
