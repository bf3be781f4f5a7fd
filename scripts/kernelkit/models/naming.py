"""The short name of a model, as tags carry it, and the repository of a short name.

`model:llama-3.1-8b` stands for meta-llama/Llama-3.1-8B and its instruction-tuned forms: their
kernels are the same.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path

from kernelkit.errors import UsageError

_KNOWN = Path(__file__).with_name("known_models.json")
# Fine-tuning and release suffixes that change no shape.
_SUFFIX = re.compile(r"-(instruct|it|chat|base|hf|thinking)(-\d{4})?$")


def slug(name: str) -> str:
    """`meta-llama/Llama-3.1-8B-Instruct` and `llama_3.1_8b` become `llama-3.1-8b`."""
    last = name.rstrip("/").rsplit("/", 1)[-1]
    text = re.sub(r"[^a-z0-9.]+", "-", last.lower()).strip("-")
    shortened = _SUFFIX.sub("", text)
    if not shortened:
        raise UsageError("not a model name", received=repr(name), allowed="e.g. llama-3.1-8b")
    return shortened


def slug_of_config(path: Path) -> str:
    """The model's short name from where its config lies: ORG__NAME.json or NAME/config.json."""
    stem = path.stem
    if stem in ("config", "model_config"):
        stem = path.resolve().parent.name
    return slug(stem.rsplit("__", 1)[-1])


def repository(model_name: str) -> str:
    """The HuggingFace repository of a short name. Raises UsageError for one not in the list."""
    wanted = slug(model_name)
    known = json.loads(_KNOWN.read_text(encoding="utf-8"))
    by_slug: dict[str, str] = {}
    for repo_id in known:  # the first of several fine-tunings stands for all: the base model
        by_slug.setdefault(slug(repo_id), repo_id)
    if wanted in by_slug:
        return by_slug[wanted]
    close = difflib.get_close_matches(wanted, by_slug, n=3, cutoff=0.5)
    raise UsageError(
        "no repository is known for this model name",
        received=model_name,
        allowed=f"e.g. {', '.join(close)}" if close else "",
        next_step="name it with --hf-repo-id ORG/NAME, or give its --config FILE",
    )
