"""Which definitions are a module's kernels, and which of them a dataset holds.

A definition and a module meet in keys: `gemm/6144/4096`, `norm/4096/fused`, `gqa`, `moe/experts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.models.cookbook import serving_sizes
from kernelkit.models.load import Model
from kernelkit.models.parallelism import Parallelism, parallel_grid
from kernelkit.ops.derivation import DEFAULT_PAGE_SIZES, Request, derive
from kernelkit.ops.placement import place

PRESENT, MISSING, DIFFERENT, UNKNOWN = "in_dataset", "missing", "differs", "not_checked"
USUAL_SIZES = (1, 2, 4, 8)  # of TP and EP, to look for in a dataset


@dataclass(frozen=True)
class Candidate:
    """A definition that follows from the model. status: PRESENT, MISSING, DIFFERENT (the dataset
    has one of that name with another interface), or UNKNOWN without a dataset."""

    definition: Definition
    status: str
    differences: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The definition's name."""
        return self.definition.name

    @property
    def shape_free(self) -> str:
        """The name without its numbers: one for all parallel sizes of a kernel."""
        return re.sub(r"\d+", "", self.name)


@dataclass(frozen=True)
class Sizes:
    """The serving configurations. chosen: somebody named them, so that all are needed; else they
    are only where to look."""

    parallel: tuple[Parallelism, ...]
    page_sizes: tuple[int, ...] = DEFAULT_PAGE_SIZES
    chosen: bool = True


@dataclass
class Candidates:
    """All that follows from the model, and what of it could not be derived."""

    found: list[Candidate] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def of(self, wants: Sequence[str]) -> list[Candidate]:
        """Those that are kernels of a module."""
        wanted = set(wants)
        return [c for c in self.found if wanted & keys_of(c.definition)]


def choose_sizes(
    model: Model, tp: Sequence[int] | None, ep: Sequence[int] | None, pages: Sequence[int],
    cookbook: Path | None, *, searching: bool,
) -> Sizes:  # fmt: skip
    """As named, else the cookbook's; else the usual ones where a dataset is searched, else 1."""
    page_sizes = tuple(pages)
    if tp is not None or ep is not None:
        return Sizes(parallel_grid(tp or [1], ep or [1]), page_sizes)
    listed = serving_sizes(cookbook, model.repo_id)
    if listed:
        return Sizes(tuple(listed), page_sizes)
    if searching:
        return Sizes(parallel_grid(USUAL_SIZES, USUAL_SIZES), page_sizes, chosen=False)
    return Sizes((Parallelism(),), page_sizes)


def find_candidates(model: Model, sizes: Sizes, dataset: Dataset | None) -> Candidates:
    """The model's definitions at these sizes, each looked up in the dataset."""
    request = Request(parallel=sizes.parallel, page_sizes=sizes.page_sizes)
    derivation = derive(model.spec, request)
    # A size that nobody asked for and that does not divide the model is no news.
    skipped = derivation.skipped if sizes.chosen else []
    if dataset is None:
        found = [Candidate(variant.definition, UNKNOWN) for variant in derivation.variants]
        return Candidates(found, skipped)
    statuses = {"new": MISSING, "conflict": DIFFERENT}
    outcomes = place(dataset, derivation.variants, refresh=False)
    found = [
        Candidate(o.definition, statuses.get(o.action, PRESENT), o.differences) for o in outcomes
    ]
    return Candidates(found, skipped)


def keys_of(definition: Definition) -> set[str]:
    """What modules can want of a definition; empty for an op type that no module has."""
    constants = definition.const_axes
    if definition.op_type == "gemm":
        return {f"gemm/{constants.get('N')}/{constants.get('K')}"}
    if definition.op_type == "rmsnorm":
        kind = "fused" if "residual" in definition.inputs else "plain"
        return {f"norm/{constants.get('hidden_size')}/{kind}"}
    if definition.op_type == "moe":
        routed = "routing_logits" in definition.inputs
        return {"moe/experts", "moe/routing"} if routed else {"moe/experts"}
    if definition.op_type == "dsa_paged":
        return {"indexer" if "indexer" in definition.name else "dsa"}
    simple = {"gqa_paged": "gqa", "gqa_ragged": "gqa", "mla_paged": "mla",
              "mla_ragged": "mla_ragged", "gdn": "gdn", "mamba_ssu": "mamba", "rope": "rope",
              "sampling": "sampling"}  # fmt: skip
    return {simple[definition.op_type]} if definition.op_type in simple else set()
