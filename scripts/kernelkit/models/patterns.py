"""The mixer patterns of configs that have no list of layers, one function each.

A pattern takes the fields and the number of layers, and gives each layer's mixer (spec.MIXERS) and
the source of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernelkit.models.fields import Fields, Found

_ATTENTION_FAMILIES = ("gqa_paged", "gqa_ragged")
Mixers = tuple[list[str], str]


def _full(fields: Fields, count: int) -> Mixers:
    return ["attention"] * count, fields.class_source


def _mla(fields: Fields, count: int) -> Mixers:
    return ["mla"] * count, fields.class_source


def _mamba(fields: Fields, count: int) -> Mixers:
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
    return mixers, fields.class_source


def _parallel(fields: Fields, count: int) -> Mixers:
    return ["attention+mamba"] * count, fields.class_source


def _sliding(fields: Fields, count: int) -> Mixers:
    """Every layer slides where sliding_window is set (Mistral, Mixtral, Phi-3)."""
    window = fields.find("sliding_window")
    if window is None or window.value is None:
        return ["attention"] * count, window.source if window else "no sliding_window"
    return ["sliding_attention"] * count, window.source


def _switched(fields: Fields) -> Found[Any] | None:
    """sliding_window where use_sliding_window turns it on (Qwen), else None."""
    flag = fields.find("use_sliding_window")
    window = fields.find("sliding_window")
    on = flag is not None and flag.value is True
    return window if on and window is not None and window.value is not None else None


def _sliding_all(fields: Fields, count: int) -> Mixers:
    window = _switched(fields)
    if window is None:
        return ["attention"] * count, "use_sliding_window"
    return ["sliding_attention"] * count, f"use_sliding_window, {window.source}"


def _sliding_top(fields: Fields, count: int) -> Mixers:
    """Layers from max_window_layers on slide (Qwen2, Qwen3)."""
    window = _switched(fields)
    if window is None:
        return ["attention"] * count, "use_sliding_window"
    first = fields.integer("layers", "max_window_layers", minimum=0)
    kinds = ["attention" if index < first else "sliding_attention" for index in range(count)]
    return kinds, f"use_sliding_window, max_window_layers, {window.source}"


def _alternate(fields: Fields, count: int) -> Mixers:
    kinds = ["attention" if index % 2 else "sliding_attention" for index in range(count)]
    return kinds, fields.class_source


def _window_interval(fields: Fields, count: int) -> Mixers:
    """Each n-th layer is global, the others slide (Gemma-3)."""
    step = fields.integer("layers", "sliding_window_pattern", "_sliding_window_pattern")
    return each(count, step, "attention", "sliding_attention"), fields.sources["layers"]


def _interval(fields: Fields, count: int) -> Mixers:
    """Each n-th layer is full attention, the others linear (Qwen3-Next, Qwen3.5)."""
    step = fields.integer("layers", "full_attention_interval")
    kinds = each(count, step, "attention", fields.architecture.linear)
    return kinds, fields.sources["layers"]


def each(count: int, step: int, every: str, other: str) -> list[str]:
    """`every` at each step-th layer, `other` at the rest."""
    return [other if (index + 1) % step else every for index in range(count)]


def _granite(fields: Fields, count: int) -> Mixers:
    """Granite-4.0-H without layer_types: the order that its published checkpoints share.

    The class default would be Mamba in all layers, which no checkpoint with attention heads is.
    """
    if fields.find("num_attention_heads") is None:
        return ["mamba"] * count, fields.class_source
    kinds = ["attention" if index % 10 == 5 else "mamba" for index in range(count)]
    return kinds, "no layer_types: attention at layers 5, 15, ... as in Granite-4.0-H checkpoints"


def _generic(fields: Fields, count: int) -> Mixers:
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


PATTERNS: dict[str, Callable[[Fields, int], Mixers]] = {
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
