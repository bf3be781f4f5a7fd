"""The kernels of a model over its serving configurations, and how far each of them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.inventory import manifest as run_manifest
from kernelkit.inventory import standing
from kernelkit.inventory.manifest import Evidence, Kernel, Manifest, Serving, Unmapped
from kernelkit.inventory.parts import unmapped_parts
from kernelkit.inventory.sglang_status import SglangSide
from kernelkit.inventory.support import flashinfer_side
from kernelkit.models.load import Model
from kernelkit.ops.derivation import Request, derive
from kernelkit.ops.placement import Outcome, place

if TYPE_CHECKING:
    from kernelkit.inventory.flashinfer_tree import FlashInferTree


@dataclass(frozen=True)
class Sources:
    """What an inventory is held against. A source that is absent leaves its statuses open."""

    dataset: Dataset
    flashinfer: FlashInferTree | None = None
    sglang: SglangSide | None = None
    repo_shas: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """One model's kernels. `skipped` names the configurations that some family cannot have."""

    model: Model
    request: Request
    sources: Sources
    kernels: tuple[Kernel, ...]
    unmapped: tuple[Unmapped, ...]
    skipped: tuple[str, ...]

    def as_manifest(self) -> Manifest:
        """The inventory as a manifest of today; `manifest.merge` adds it to one that exists."""
        found = run_manifest.fresh(self.model.slug, self.model.repo_id)
        found.architecture = self.model.spec.architecture
        found.num_layers = self.model.spec.num_layers
        found.layers = self.model.spec.counts()
        found.serving = [Serving(tp=p.tp, ep=p.ep) for p in self.request.parallel]
        found.page_sizes = list(self.request.page_sizes)
        found.kernels = list(self.kernels)
        found.unmapped = list(self.unmapped)
        found.notes = self.notes
        if self.sources.repo_shas:
            found.repo_shas = dict(self.sources.repo_shas)
        if versions := self._versions():
            found.versions = versions
        return found

    @property
    def notes(self) -> list[str]:
        """What a reader must know besides: skipped configurations, open families, SGLang's lack."""
        side = self.sources.sglang
        found = [f"skipped {text}" for text in self.skipped]
        found += [f"not decided: {text}" for text in self.model.spec.undecided]
        found += [side.note] if side and side.note else []
        return found + (side.implementation.notes if side and side.implementation else [])

    def _versions(self) -> dict[str, str]:
        tree, side = self.sources.flashinfer, self.sources.sglang
        found = {"flashinfer": tree and tree.version, "sglang": side and side.version}
        return {name: version for name, version in found.items() if version}


def take(model: Model, request: Request, sources: Sources) -> Inventory:
    """Derive the model's definitions and look each up in the sources. Reads only."""
    derivation = derive(model.spec, request)
    outcomes = list(place(sources.dataset, derivation.variants, refresh=False))
    pairs = zip(derivation.variants, outcomes, strict=True)
    kernels = tuple(_kernel(v.definition, outcome, sources) for v, outcome in pairs)
    op_types = {kernel.op_type for kernel in kernels}
    return Inventory(
        model=model,
        request=request,
        sources=sources,
        kernels=kernels,
        unmapped=tuple(unmapped_parts(model.spec, op_types, request.op_types)),
        skipped=tuple(derivation.skipped),
    )


def _kernel(derived: Definition, outcome: Outcome, sources: Sources) -> Kernel:
    """One entry. The API and the configurations are those derived: the dataset's tags may be old,
    and name configurations of other models."""
    definition = outcome.definition
    new = outcome.action == "new"
    held = standing.standing(sources.dataset, definition)
    evidence: list[Evidence] = [] if new else standing.evidence(held)
    fields: dict[str, object] = {"workloads": held.workloads or 0}
    if outcome.action == "conflict":
        fields["differences"] = list(outcome.differences)
    fi = flashinfer_side(sources.flashinfer, derived)
    evidence += fi.evidence
    if fi.status:
        fields |= {"fi_status": fi.status, "fi_trace_template": fi.template is not None}
    if fi.api:
        fields["fi_api"] = fi.api
    if sources.sglang is not None:
        seen = sources.sglang.status(derived, fi)
        fields["sgl_status"] = seen.status
        if seen.default_path is not None:
            fields["sgl_default_path"] = seen.default_path
        evidence += seen.evidence
    return Kernel(
        definition_name=definition.name,
        op_type=definition.op_type,
        phase1_status="new" if new else "existing",
        serving=list(_serving_tags(derived)),
        evidence=evidence,
        **fields,
    )


def _serving_tags(definition: Definition) -> Iterator[str]:
    return (tag for tag in definition.tags if tag.startswith(("tp:", "ep:")))


def counts(kernels: Sequence[Kernel]) -> dict[str, int]:
    """How many kernels have each status; statuses that are open are not counted."""
    found: dict[str, int] = {}
    for kernel in kernels:
        for status in (kernel.phase1_status, kernel.fi_status, kernel.sgl_status):
            if status is not None:
                found[status] = found.get(status, 0) + 1
    return found
