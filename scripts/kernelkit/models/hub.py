"""Where a config.json comes from: a file, or the HuggingFace hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernelkit.errors import ConfigError, KernelkitError, MissingDependencyError, UsageError

_FROM_FILE = "download config.json in a browser and pass it with --config FILE"


def read_config(path: Path | str) -> dict[str, Any]:
    """The object in a config.json, `Infinity` and `NaN` included.

    Raises UsageError for a path that is no file, ConfigError for content that is no JSON object.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(
            "the path is a folder, not a config file",
            received=path,
            next_step=f"pass {path / 'config.json'}",
        )
    if not path.is_file():
        raise UsageError("the config file does not exist", received=path)
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError
        raise ConfigError(f"{path} is not JSON: {error}", next_step=_hint(path)) from None
    if not isinstance(config, dict):
        raise ConfigError(
            f"{path} is not a model's config",
            received=f"a JSON {type(config).__name__}",
            allowed="an object with fields such as architectures and hidden_size",
        )
    return config


def _hint(path: Path) -> str:
    if path.read_bytes()[:40].startswith(b"version https://git-lfs"):
        return "the file is a Git-LFS pointer: run git lfs pull"
    return "use the config.json as the model's repository publishes it"


def fetch_config(repo_id: str, revision: str | None = None) -> dict[str, Any]:
    """The config.json of a model on the hub; see `fetch_file` for what it raises."""
    return read_config(fetch_file(repo_id, revision))


def fetch_file(repo_id: str, revision: str | None = None) -> Path:
    """The local path of a hub model's config.json, downloaded or from the hub's own cache.

    The token, the cache and offline mode (HF_HUB_OFFLINE) are huggingface_hub's own settings.
    Raises MissingDependencyError without that package and where the hub cannot be reached,
    UsageError for a repository, revision or file that cannot be had.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise MissingDependencyError(
            "huggingface_hub is not installed",
            next_step=f"pip install huggingface-hub, or {_FROM_FILE}",
        ) from None
    try:
        return Path(huggingface_hub.hf_hub_download(repo_id, "config.json", revision=revision))
    except errors.HFValidationError:
        raise UsageError(
            "this is no model id", received=repo_id, allowed="ORG/NAME", next_step=_FROM_FILE
        ) from None
    except (errors.HfHubHTTPError, errors.EntryNotFoundError, OSError) as error:
        raise _hub_error(repo_id, revision, error) from None


def _hub_error(repo_id: str, revision: str | None, error: Exception) -> KernelkitError:
    """One sentence for what the hub answered. Classes are tried from special to general."""
    from huggingface_hub import constants, errors

    wanted = repo_id if revision is None else f"{repo_id} at revision {revision}"
    if isinstance(error, errors.GatedRepoError):
        return UsageError(
            f"{wanted} is gated: its licence must be accepted, and a token be logged in",
            next_step=f"accept it on the model's page and run hf auth login, or {_FROM_FILE}",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UsageError(
            f"{wanted} does not exist on the hub, or is private and no token is logged in",
            next_step=f"check the spelling (ORG/NAME), or {_FROM_FILE}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(f"{wanted}: the revision does not exist", next_step=_FROM_FILE)
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, OSError):
        return UsageError(f"{wanted} has no config.json", next_step=_FROM_FILE)
    if constants.HF_HUB_OFFLINE:
        return MissingDependencyError(
            f"{wanted} is not in the local cache, and HF_HUB_OFFLINE is set",
            next_step=f"unset HF_HUB_OFFLINE, or {_FROM_FILE}",
        )
    return MissingDependencyError(
        f"the hub cannot be reached for {wanted}",
        received=str(error).splitlines()[0] if str(error) else type(error).__name__,
        next_step=f"check the network, or {_FROM_FILE}",
    )
