"""Which part of a config describes a language model, and which architecture that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernelkit.errors import ConfigError
from kernelkit.models import architectures
from kernelkit.models.architectures import MAMBA_SSM, Architecture

# Where multimodal configs keep the language model.
NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
HIDDEN = ("hidden_size", "d_model", "n_embd")


def text_scope(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The language model's part of a config and its dotted prefix ("" for a flat config)."""
    prefix = ""
    while True:
        name = next((n for n in NESTED if isinstance(config.get(n), Mapping)), None)
        if name is None:
            return config, prefix
        config, prefix = config[name], f"{prefix}{name}."


def class_names(config: Mapping[str, Any]) -> list[str]:
    """The class names and the model_type that a config states."""
    classes = config.get("architectures") or []
    if not isinstance(classes, list) or not all(isinstance(entry, str) for entry in classes):
        raise ConfigError(
            "architectures is wrong", received=repr(classes), allowed="a list of class names"
        )
    model_type = config.get("model_type")
    return [*classes, model_type] if isinstance(model_type, str) else list(classes)


def find_architecture(text: Mapping[str, Any], names: Sequence[str]) -> Architecture:
    """The table's row of a config, or the row for unknown architectures.

    Raises ConfigError for what has no size of a hidden state either: no language model's config.
    """
    kind = architectures.find(*names)
    if kind is not None:
        return kind
    if "ssm_cfg" in text and "d_model" in text:
        return MAMBA_SSM
    if not any(field in text for field in HIDDEN):
        raise ConfigError(
            "no language model is recognised in this config",
            received=f"fields {', '.join(sorted(text)[:20]) or '(none)'}",
            allowed="a known architecture, or at least hidden_size and num_hidden_layers",
            next_step="use the config.json of the model's repository",
        )
    return architectures.unknown(names[0] if names else "")
