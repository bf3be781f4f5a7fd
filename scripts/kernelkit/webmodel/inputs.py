"""The files that a generation starts from, as a person names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit.errors import FormatError, UsageError

if TYPE_CHECKING:
    from kernelkit.models.load import Model
    from kernelkit.sglang.implementation import Implementation


def config_file(path: Path | None) -> Path | None:
    """The published config: model_architecture.json stands for the model_config.json beside it.

    Raises UsageError where only the former is there.
    """
    if path is None or not path.is_file():
        return path
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return path  # the reader of configs says what is wrong
    if not (isinstance(document, dict) and {"layer_counts", "sources"} <= document.keys()):
        return path
    published = path.with_name("model_config.json")
    if not published.is_file():
        raise UsageError(
            "this is what extract_model.py read from a config, not the config",
            received=path,
            allowed=f"the config itself, or {published.name} beside it",
        )
    return published


def published(model: Model, config: Path | None, revision: str | None) -> bytes:
    """The bytes of the config that a model was read from."""
    if config is not None:
        return config.read_bytes()
    from kernelkit.models.hub import fetch_file

    return fetch_file(str(model.repo_id), revision).read_bytes()


def implementation(path: Path | None) -> Implementation | None:
    """A sglang_implementation.json. Raises UsageError, FormatError."""
    if path is None:
        return None
    from kernelkit.sglang.implementation import Implementation

    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}") from None
    return Implementation.from_json(document)
