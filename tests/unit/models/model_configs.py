"""Configs that the tests of kernelkit.models share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernelkit.models.config import parse_config
from kernelkit.models.spec import ModelSpec

CONFIGS = Path(__file__).resolve().parents[2] / "fixtures" / "configs"
BUNDLED = sorted(CONFIGS.glob("*.json"))

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}


def bundled(name: str) -> dict[str, Any]:
    """The bundled config whose file name contains `name`."""
    (path,) = [path for path in BUNDLED if name in path.name]
    return json.loads(path.read_text(encoding="utf-8"))


def parse(name: str) -> ModelSpec:
    """That config, read."""
    return parse_config(bundled(name))


def llama(**changes: object) -> dict[str, Any]:
    """A small Llama config with changes; a value of ... removes the field."""
    merged = {**LLAMA, **changes}
    return {key: value for key, value in merged.items() if value is not ...}
