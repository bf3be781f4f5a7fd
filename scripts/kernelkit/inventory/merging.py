"""How an inventory is added to a manifest that other steps have written to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kernelkit.dataset.base import FormatModel
from kernelkit.errors import ConflictError
from kernelkit.inventory.records import Evidence, Kernel, Manifest

PHASE1 = (
    "phase1_status", "fi_status", "fi_api", "fi_trace_template", "sgl_status",
    "sgl_default_path", "workloads", "differences",
)  # fmt: skip


def merge(held: Manifest, found: Manifest, *, refresh: bool = False) -> None:
    """Add an inventory to a manifest.

    New kernels are appended. A kernel that is there keeps what is set (with `refresh`, the fields
    of phase 1 are renewed); serving configurations are united; later steps' fields and kernels
    that this inventory does not know are never touched. Raises ConflictError for another model.
    """
    if held.model_slug != found.model_slug:
        raise ConflictError(
            "the manifest belongs to another model",
            received=f"model {found.model_slug}",
            allowed=held.model_slug,
            next_step="name another --manifest file",
        )
    for name in ("hf_repo_id", "architecture", "num_layers", "layers"):
        _fill(held, found, name, refresh=refresh)
    for name in ("unmapped", "notes"):
        if name in found.model_fields_set:
            _set(held, name, getattr(found, name))
    for name in ("repo_shas", "versions"):
        if mine := getattr(found, name):
            _set(held, name, {**(getattr(held, name) or {}), **mine})
    for name in ("serving", "page_sizes"):
        _set(held, name, _union(getattr(held, name), getattr(found, name)))
    for kernel in found.kernels:
        _merge_kernel(held, kernel, refresh=refresh)


def _merge_kernel(held: Manifest, found: Kernel, *, refresh: bool) -> None:
    known = held.kernel(found.definition_name)
    if known is None:
        held.kernels = [*held.kernels, found]
        return
    for name in PHASE1:
        _fill(known, found, name, refresh=refresh)
    _set(known, "serving", _union(known.serving, found.serving))
    _set(known, "evidence", _merge_evidence(known.evidence, found.evidence, refresh=refresh))


def _merge_evidence(
    old: list[Evidence] | None, new: list[Evidence] | None, *, refresh: bool
) -> list[Evidence] | None:
    """Evidence goes by what it is about: one source's is kept, or renewed, as a whole."""
    if not old or not new:
        return new or old
    seen = {item.about for item in (new if refresh else old)}
    kept, added = (old, new) if not refresh else (new, old)
    return [*kept, *(item for item in added if item.about not in seen)]


def _fill(held: FormatModel, found: FormatModel, name: str, *, refresh: bool) -> None:
    value = getattr(found, name)
    if value is not None and (refresh or getattr(held, name) is None):
        _set(held, name, value)


def _set(held: FormatModel, name: str, value: object) -> None:
    if value is not None and getattr(held, name) != value:
        setattr(held, name, value)


def _union(old: Iterable[Any] | None, new: Iterable[Any] | None) -> list[Any] | None:
    if old is None and new is None:
        return None
    kept = list(old or [])
    return kept + [item for item in new or [] if item not in kept]
