"""What a config says beyond its decoder stack: prediction layers, attention chunks, a vision tower.

These do not change any kernel's shape, so that ModelSpec leaves them out; who draws the model's
hierarchy needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernelkit.errors import ConfigError
from kernelkit.models.recognise import text_scope
from kernelkit.models.spec import ModelSpec

# Multi-token prediction: DeepSeek and GLM, then Qwen3.5.
MTP = ("num_nextn_predict_layers", "mtp_num_hidden_layers")
VISION = ("vision_config", "vision_tower_config", "audio_config")
NOPE_INTERVAL = 4  # Llama-4's class default: each fourth layer is without rope


@dataclass(frozen=True)
class Auxiliary:
    """mtp_layers: decoder layers that draft further tokens, not among ModelSpec.layers.

    chunked: indices of the layers that attend within chunks (Llama-4). towers: the config's parts
    for other modalities.
    """

    mtp_layers: int = 0
    mtp_source: str = ""
    chunked: frozenset[int] = frozenset()
    towers: tuple[str, ...] = ()


def read_auxiliary(config: Mapping[str, Any], spec: ModelSpec) -> Auxiliary:
    """The facts of `config` whose `spec` was read. Raises ConfigError for a field of wrong type."""
    text, prefix = text_scope(config)
    name = next((name for name in MTP if text.get(name) is not None), None)
    return Auxiliary(
        mtp_layers=_count(text[name], f"{prefix}{name}") if name else 0,
        mtp_source=f"{prefix}{name}" if name else "",
        chunked=_chunked(text, prefix, spec),
        towers=tuple(name for name in VISION if isinstance(config.get(name), Mapping)),
    )


def _count(value: object, source: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{source} is wrong", received=repr(value), allowed="an integer, 0 or up")
    return value


def _chunked(text: Mapping[str, Any], prefix: str, spec: ModelSpec) -> frozenset[int]:
    """Layers with chunks: layer_types says so, or no_rope_layers (1: rope, chunks; 0: neither)."""
    if spec.attention is None or spec.attention.chunk_size is None:
        return frozenset()
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return frozenset(i for i, kind in enumerate(kinds) if kind == "chunked_attention")
    flags = text.get("no_rope_layers") or [
        (index + 1) % NOPE_INTERVAL for index in range(spec.num_layers)
    ]
    if not isinstance(flags, list) or len(flags) != spec.num_layers:
        raise ConfigError(
            f"{prefix}no_rope_layers and num_hidden_layers disagree",
            received=repr(flags),
            allowed=f"a list of {spec.num_layers} flags",
        )
    return frozenset(index for index, rope in enumerate(flags) if rope)
