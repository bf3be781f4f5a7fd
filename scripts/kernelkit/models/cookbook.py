"""Serving configurations from a checkout of sgl-cookbook (data/models/generated/v*/*.yaml).

Each version folder holds the models that its SGLang version added or changed, so that a model's
configurations are those of the newest folder that lists it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.errors import (
    FormatError,
    MissingDependencyError,
    NothingSelectedError,
    UsageError,
)
from kernelkit.models.parallelism import Parallelism, parallel_grid

DEFAULT_CHECKOUT = Path("tmp") / "sgl-cookbook"
GENERATED = Path("data") / "models" / "generated"
DEEPEST = 100  # brackets in brackets: libyaml's time grows with the square of the depth
_ENGINES = ("engine", "prefill", "decode")  # disaggregated serving has two engines


@dataclass(frozen=True)
class ServingConfig:
    """One engine of one configuration. An unset size means 1 (no such parallelism)."""

    tp: int
    ep: int
    dp: int
    hardware: str
    quantization: str | None
    name: str
    file: str  # relative to the checkout


def serving_configs(checkout: Path, hf_repo_id: str) -> list[ServingConfig]:
    """The configurations of a model, by its HuggingFace id (case does not matter).

    Raises UsageError for a folder that is no checkout, FormatError for a file that is not of the
    known form, NothingSelectedError (with close matches) for a model that is not listed.
    """
    checkout = Path(checkout)
    known: set[str] = set()
    for folder in version_folders(checkout):
        found: list[ServingConfig] = []
        for file in sorted(folder.glob("*.yaml")):
            rows = _rows_of(file, checkout)
            known |= {repo for repo, _ in rows}
            found += [row for repo, row in rows if repo.lower() == hf_repo_id.lower()]
        if found:
            return list(dict.fromkeys(found))
    close = difflib.get_close_matches(hf_repo_id, sorted(known), n=3, cutoff=0.5)
    raise NothingSelectedError(
        f"the cookbook lists no serving configuration of {hf_repo_id}",
        allowed=f"one of {len(known)} models; close: {', '.join(close) or 'none'}",
        next_step="give --tp-list (and --ep-list) instead",
    )


def all_models(checkout: Path) -> dict[str, list[ServingConfig]]:
    """Every model that the cookbook lists, by its HuggingFace id, with its configurations.

    Each model's are those of the newest version folder that lists it. Raises as `serving_configs`.
    """
    checkout = Path(checkout)
    found: dict[str, list[ServingConfig]] = {}
    for folder in version_folders(checkout):
        here: dict[str, list[ServingConfig]] = {}
        for file in sorted(folder.glob("*.yaml")):
            for repo, row in _rows_of(file, checkout):
                here.setdefault(repo, []).append(row)
        for repo, rows in here.items():
            found.setdefault(repo, list(dict.fromkeys(rows)))
    return found


def parallel_sizes(configs: Sequence[ServingConfig]) -> list[Parallelism]:
    """The distinct (tp, ep) of `configs`, ascending."""
    pairs = sorted({(config.tp, config.ep) for config in configs})
    return [Parallelism(tp=tp, ep=ep) for tp, ep in pairs]


def serving_sizes(checkout: Path | None, hf_repo_id: str | None) -> list[Parallelism]:
    """The (tp, ep) of a model as a script asks for them.

    Without `checkout`, DEFAULT_CHECKOUT is read where it exists, and a model that it does not
    list, or that has no id, yields nothing. A named checkout must list the model: raises what
    `serving_configs` raises, and UsageError without an id.
    """
    if checkout is not None and hf_repo_id is None:
        raise UsageError(
            "the cookbook lists models by their HuggingFace id, and a config file has none",
            received=checkout,
            next_step="give --tp-list instead, or name the model with --hf-repo-id",
        )
    if hf_repo_id is None or (checkout is None and not DEFAULT_CHECKOUT.is_dir()):
        return []
    try:
        return parallel_sizes(serving_configs(checkout or DEFAULT_CHECKOUT, hf_repo_id))
    except NothingSelectedError:
        if checkout is not None:
            raise
        return []


def chosen_sizes(
    tp_list: Sequence[int] | None,
    ep_list: Sequence[int] | None,
    checkout: Path | None,
    hf_repo_id: str | None,
) -> tuple[Parallelism, ...]:
    """The configurations that --tp-list and --ep-list name, else the cookbook's (with the EP sizes
    of --ep-list, if given), else one rank. Raises as `serving_sizes`."""
    named = parallel_grid(tp_list or [1], ep_list or [1])
    if tp_list is not None:
        return named
    listed = serving_sizes(checkout, hf_repo_id)
    return tuple(p for p in listed if ep_list is None or p.ep in ep_list) or named


def version_folders(checkout: Path) -> list[Path]:
    """The version folders, newest first, by number (v0.5.10 after v0.5.8)."""
    root = checkout / GENERATED
    folders = [folder for folder in root.glob("v*") if folder.is_dir() and _version(folder)]
    if not folders:
        raise UsageError(
            "this is no checkout of sgl-cookbook",
            received=checkout,
            allowed=f"a folder with {GENERATED.as_posix()}/v*/",
            next_step="git clone https://github.com/sgl-project/sgl-cookbook",
        )
    return sorted(folders, key=_version, reverse=True)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))


def _rows_of(file: Path, checkout: Path) -> list[tuple[str, ServingConfig]]:
    """(HuggingFace id, configuration) for each engine in a file. Raises FormatError."""
    try:
        import yaml
    except ImportError:
        raise MissingDependencyError(
            "reading sgl-cookbook needs PyYAML", next_step="pip install pyyaml"
        ) from None
    try:
        text = file.read_text("utf-8")
        if _depth(text) > DEEPEST:
            raise ValueError("nested too deeply")
        document = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        models = [model for family in document["families"] for model in family["models"]]
        return [row for model in models for row in _rows(model, file, checkout)]
    except (
        yaml.YAMLError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # ValueError: no UTF-8, no date, a number of too many digits
        raise FormatError(f"{file} is not a cookbook file: {error!r}") from None


def _depth(text: str) -> int:
    """How deep brackets stand in brackets, at most."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _rows(model: dict[str, Any], file: Path, checkout: Path) -> Iterator[tuple[str, ServingConfig]]:
    """(HuggingFace id, configuration) for each engine of a model."""
    for hardware, entry in (model.get("hardware") or {}).items():
        for configuration in entry.get("configurations") or ():
            repo = configuration.get("quantized_model_path") or model.get("model_path") or ""
            for part in _ENGINES:
                if engine := configuration.get(part):
                    yield _text(repo), _config(configuration, engine, hardware, file, checkout)


def _config(
    configuration: dict[str, Any], engine: dict[str, Any], hardware: object, file: Path,
    checkout: Path,
) -> ServingConfig:  # fmt: skip
    """One engine of a configuration. Raises FormatError, TypeError for what is no text."""
    quantization = (configuration.get("attributes") or {}).get("quantization")
    return ServingConfig(
        **{key: _size(engine, key, file) for key in ("tp", "ep", "dp")},
        hardware=_text(hardware),
        quantization=None if quantization is None else _text(quantization),
        name=_text(configuration.get("name", "")),
        file=file.relative_to(checkout).as_posix(),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _size(engine: dict[str, Any], key: str, file: Path) -> int:
    value = engine.get(key)
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FormatError(f"{file}: {key} is wrong", received=repr(value), allowed="an integer > 0")
    return value
