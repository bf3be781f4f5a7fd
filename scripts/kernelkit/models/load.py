"""A model by its file, its hub repository or its short name: config, spec and short name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.errors import UsageError
from kernelkit.models.naming import repository, slug, slug_of_config
from kernelkit.models.spec import ModelSpec


@dataclass(frozen=True)
class Model:
    """One model: its short name, its config as published, and what was read from it."""

    slug: str
    config: dict[str, Any]
    spec: ModelSpec
    repo_id: str | None = None


def load_model(
    model_name: str | None, repo_id: str | None, config: Path | None, revision: str | None = None
) -> Model:
    """Read the config from `config`, else from the hub (`repo_id`, else the name's repository).

    Raises UsageError where none of the three is given, ConfigError for a config that cannot be
    read, MissingDependencyError where the hub cannot be reached.
    """
    from kernelkit.models.config import parse_config
    from kernelkit.models.hub import fetch_config, read_config

    if config is not None:
        raw = read_config(config)
        name = slug(model_name) if model_name else slug_of_config(config)
        return Model(name, raw, parse_config(raw, name=name))
    if repo_id is None and model_name is None:
        raise UsageError(
            "no model given", allowed="--config, --hf-repo-id or --model-name",
            next_step="of a checkpoint on this disk: --config FOLDER/config.json",
        )  # fmt: skip
    found = repo_id or repository(str(model_name))
    raw = fetch_config(found, revision)
    name = slug(model_name or found)
    return Model(name, raw, parse_config(raw, name=name), found)


def checkpoint_config(checkpoint: str | None) -> Path | None:
    """The config.json of a checkpoint's folder; None for a repository's name, or without one."""
    path = Path(checkpoint) / "config.json" if checkpoint else None
    return path if path is not None and path.is_file() else None
