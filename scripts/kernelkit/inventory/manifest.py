"""The run manifest: one JSON file that says where the onboarding of one model stands.

Its fields are those of flashinfer-bench's onboarding manifest, with a schema version, the serving
configurations and the evidence of each status. Every step opens it with `update`, changes its own
fields and leaves all others, known and unknown, as they are.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from kernelkit.dataset import atomic
from kernelkit.errors import FormatError, UsageError
from kernelkit.inventory.locks import rewriting
from kernelkit.inventory.merging import merge
from kernelkit.inventory.records import (
    SCHEMA_VERSION,
    Evidence,
    Kernel,
    Manifest,
    PhaseState,
    Serving,
    Unmapped,
)

__all__ = [
    "SCHEMA_VERSION", "Evidence", "Kernel", "Manifest", "PhaseState", "Serving", "Unmapped",
    "fresh", "load", "merge", "update",
]  # fmt: skip


def fresh(model_slug: str, hf_repo_id: str | None = None) -> Manifest:
    """A manifest of today without kernels."""
    named = {} if hf_repo_id is None else {"hf_repo_id": hf_repo_id}
    return Manifest(
        schema_version=SCHEMA_VERSION, model_slug=model_slug, date=_now()[:10], **named, kernels=[]
    )


def load(path: Path) -> Manifest:
    """Read a manifest. Raises UsageError where there is none, FormatError where it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the manifest cannot be read: {error.strerror}",
            received=path,
            next_step="write one with python scripts/discover_models.py --manifest FILE",
        ) from None
    try:
        found = Manifest.model_validate_json(data)
    except (ValidationError, ValueError) as error:
        raise FormatError(
            f"{path} is no run manifest: {_first_problem(error)}",
            next_step="repair that field, or move the file away and write a new one",
        ) from None
    if found.schema_version > SCHEMA_VERSION:
        raise FormatError(
            f"{path} was written by a newer version",
            received=f"schema_version {found.schema_version}",
            allowed=f"up to {SCHEMA_VERSION}",
        )
    return found


def update(
    path: Path, change: Callable[[Manifest], None], *, otherwise: Manifest | None = None
) -> bool:
    """Load, `change` in place, write whole: under a lock, so that two steps never lose an entry.

    `otherwise` is the manifest to begin with where the file does not exist (without it, that is a
    UsageError). False where nothing changed; then the file, its time included, stays as it was.
    """
    with rewriting(path):
        if otherwise is not None and not path.exists():
            held, before = otherwise, ""
        else:
            held, before = load(path), path.read_text("utf-8")
        was = held.to_text()
        change(held)
        if before and held.to_text() == was:
            return False
        held.updated = _now()
        return atomic.write_text(path, held.to_text())


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _first_problem(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
