"""Which token mixer and which MLP each layer has: explicit lists, patterns, and MoE placement."""

from __future__ import annotations

from collections.abc import Callable

from kernelkit.errors import ConfigError
from kernelkit.models.fields import Fields, Found
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
_ATTENTION_FAMILIES = ("gqa_paged", "gqa_ragged")


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


def _mixer(fields: Fields, word: object, listed: Found) -> str:
    kind = KINDS.get(word) if isinstance(word, str) else None
    if kind is None and fields.architecture.known:
        raise fields.wrong(Found(word, f"an entry of {listed.source}"), ", ".join(KINDS))
    if kind is None or (kind == "linear" and fields.architecture.linear == "generic"):
        fields.undecide(
            ("gdn", "mamba_ssu"), f"{listed.source} has {word!r}, whose kernel is not known"
        )
        return "none"
    return fields.architecture.linear if kind == "linear" else kind


def _check_length(fields: Fields, listed: Found, count: int) -> None:
    if len(listed.value) != count:
        raise ConfigError(
            f"{fields.architecture.name}: {listed.source} and num_hidden_layers disagree",
            received=f"{len(listed.value)} entries, {count} layers",
            allowed="one entry per layer",
        )


def _full(fields: Fields, count: int) -> tuple[list[str], str]:
    return ["attention"] * count, fields.default(None).source


def _mla(fields: Fields, count: int) -> tuple[list[str], str]:
    return ["mla"] * count, fields.default(None).source


def _mamba(fields: Fields, count: int) -> tuple[list[str], str]:
    kind = fields.find("ssm_cfg.layer")
    if kind is not None and kind.value != "Mamba2":
        fields.undecide(("mamba_ssu",), f"{kind.source} is {kind.value!r}; only Mamba2 is known")
        return ["none"] * count, kind.source
    attention = fields.items("attn_layer_idx")
    mixers = ["mamba"] * count
    for index in attention.value if attention else ():
        if fields.check_integer(Found(index, "an entry of attn_layer_idx"), 0) < count:
            mixers[index] = "none"
            fields.undecide(_ATTENTION_FAMILIES, "attn_cfg of mamba_ssm is not read")
    return mixers, fields.default(None).source


def _parallel(fields: Fields, count: int) -> tuple[list[str], str]:
    return ["attention+mamba"] * count, fields.default(None).source


def _sliding(fields: Fields, count: int) -> tuple[list[str], str]:
    """Every layer slides where sliding_window is set (Mistral, Mixtral, Phi-3)."""
    window = fields.find("sliding_window")
    if window is None or window.value is None:
        return ["attention"] * count, window.source if window else "no sliding_window"
    return ["sliding_attention"] * count, window.source


def _switched(fields: Fields) -> Found | None:
    """sliding_window where use_sliding_window turns it on (Qwen), else None."""
    flag = fields.find("use_sliding_window")
    window = fields.find("sliding_window")
    on = flag is not None and flag.value is True
    return window if on and window is not None and window.value is not None else None


def _sliding_all(fields: Fields, count: int) -> tuple[list[str], str]:
    window = _switched(fields)
    if window is None:
        return ["attention"] * count, "use_sliding_window"
    return ["sliding_attention"] * count, f"use_sliding_window, {window.source}"


def _sliding_top(fields: Fields, count: int) -> tuple[list[str], str]:
    """Layers from max_window_layers on slide (Qwen2, Qwen3)."""
    window = _switched(fields)
    if window is None:
        return ["attention"] * count, "use_sliding_window"
    first = fields.integer("layers", "max_window_layers", minimum=0)
    kinds = ["attention" if index < first else "sliding_attention" for index in range(count)]
    return kinds, f"use_sliding_window, max_window_layers, {window.source}"


def _alternate(fields: Fields, count: int) -> tuple[list[str], str]:
    kinds = ["attention" if index % 2 else "sliding_attention" for index in range(count)]
    return kinds, fields.default(None).source


def _window_interval(fields: Fields, count: int) -> tuple[list[str], str]:
    """Each n-th layer is global, the others slide (Gemma-3)."""
    step = fields.integer("layers", "sliding_window_pattern", "_sliding_window_pattern")
    return _each(count, step, "attention", "sliding_attention"), fields.sources["layers"]


def _interval(fields: Fields, count: int) -> tuple[list[str], str]:
    """Each n-th layer is full attention, the others linear (Qwen3-Next, Qwen3.5)."""
    step = fields.integer("layers", "full_attention_interval")
    kinds = _each(count, step, "attention", fields.architecture.linear)
    return kinds, fields.sources["layers"]


def _each(count: int, step: int, every: str, other: str) -> list[str]:
    return [other if (index + 1) % step else every for index in range(count)]


def _granite(fields: Fields, count: int) -> tuple[list[str], str]:
    """Granite-4.0-H without layer_types: the order that its published checkpoints share.

    The class default would be Mamba in all layers, which no checkpoint with attention heads is.
    """
    if fields.find("num_attention_heads") is None:
        return ["mamba"] * count, fields.default(None).source
    kinds = ["attention" if index % 10 == 5 else "mamba" for index in range(count)]
    return kinds, "no layer_types: attention at layers 5, 15, ... as in Granite-4.0-H checkpoints"


def _generic(fields: Fields, count: int) -> tuple[list[str], str]:
    """An architecture that is not in the table: what its field names give away."""
    if fields.find("kv_lora_rank") is not None:
        return ["mla"] * count, f"{fields.prefix}kv_lora_rank"
    if fields.find("num_attention_heads", "n_head") is None:
        reason = "the config has neither attention heads nor a layer list"
        fields.undecide((*_ATTENTION_FAMILIES, "mamba_ssu", "gdn"), reason)
        return ["none"] * count, "undecided"
    for name in ("mamba_num_heads", "mamba_n_heads", "mamba_d_state", "ssm_state_size"):
        if fields.find(name) is not None:
            reason = f"{name} is set, but no list says which layers are Mamba layers"
            fields.undecide(("mamba_ssu",), reason)
    if fields.find("linear_num_value_heads") is not None:
        fields.undecide(("gdn",), "linear_* fields are set, but no list of layers")
    if fields.find("use_sliding_window") is not None:
        return _sliding_all(fields, count)
    return _sliding(fields, count)


PATTERNS: dict[str, Callable[[Fields, int], tuple[list[str], str]]] = {
    "full": _full,
    "mla": _mla,
    "mamba": _mamba,
    "parallel": _parallel,
    "sliding": _sliding,
    "sliding_all": _sliding_all,
    "sliding_top": _sliding_top,
    "alternate": _alternate,
    "window_interval": _window_interval,
    "interval": _interval,
    "granite": _granite,
    "generic": _generic,
}


def _nemotron(fields: Fields, count: int) -> tuple[Layer, ...]:
    found = fields.find(*NEMOTRON_FIELDS)
    if found is None or found.value is None:
        raise fields.missing(*NEMOTRON_FIELDS)
    if not isinstance(found.value, (str, list)):
        raise fields.wrong(found, "a string of M * - E, or a list of words")
    _check_length(fields, found, count)
    fields.note("layers", found)
    return tuple(_block(fields, entry, found) for entry in found.value)


def _block(fields: Fields, entry: object, found: Found) -> Layer:
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
    return _each(count, step or 1, "moe", "dense"), fields.sources["layers"]


def _mlp_sparse_step(fields: Fields, count: int) -> tuple[list[str], str] | None:
    """Each n-th layer MoE but mlp_only_layers (Qwen)."""
    if fields.find("decoder_sparse_step") is None and fields.find("mlp_only_layers") is None:
        return None
    step = fields.integer("layers", "decoder_sparse_step", otherwise=fields.default(1))
    dense = fields.items("mlp_only_layers")
    kinds = _each(count, step, "moe", "dense")
    for index in dense.value if dense else ():
        if fields.check_integer(Found(index, "an entry of mlp_only_layers"), 0) < count:
            kinds[index] = "dense"
    return kinds, f"{fields.sources['layers']}, mlp_only_layers"
