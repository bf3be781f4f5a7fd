"""From a model to its entry and its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.models.auxiliary import read_auxiliary
from kernelkit.webmodel import entry as entries
from kernelkit.webmodel import titles
from kernelkit.webmodel.analysis import analysis
from kernelkit.webmodel.entry import Entry, Module
from kernelkit.webmodel.hierarchy import Placed, hierarchy
from kernelkit.webmodel.mapping import DIFFERENT, MISSING, Candidates, Sizes, find_candidates

if TYPE_CHECKING:
    from kernelkit.dataset.store import Dataset
    from kernelkit.models.load import Model
    from kernelkit.sglang.implementation import Implementation


@dataclass(frozen=True)
class Wanted:
    """What to generate. name, description: None where they follow from the model; keep_missing:
    name definitions that the dataset lacks, too."""

    sizes: Sizes
    dataset: Dataset | None = None
    implementation: Implementation | None = None
    config: Path | None = None
    name: str | None = None
    description: str | None = None
    keep_missing: bool = False


@dataclass(frozen=True)
class Generated:
    """The entry, its report, and what they were made from."""

    entry: Entry
    report: dict[str, Any]
    modules: tuple[Placed, ...]
    candidates: Candidates


def generate(model: Model, wanted: Wanted) -> Generated:
    """The model's entry. Raises ConfigError for a config that contradicts itself, FormatError
    where the hierarchy is no tree."""
    auxiliary = read_auxiliary(model.config, model.spec)
    modules = hierarchy(model.spec, auxiliary, wanted.implementation)
    candidates = find_candidates(model, wanted.sizes, wanted.dataset)
    named = {
        placed.name: Module(
            count=placed.count,
            type=placed.type,
            parent=placed.parent,
            definitions=_definitions(placed, candidates, keep_missing=wanted.keep_missing),
        )
        for placed in modules
    }
    made = Entry(
        id=model.slug,
        name=wanted.name or titles.display_name(model, wanted.config),
        description=wanted.description or titles.description(model.spec, auxiliary),
        modules=named,
    )
    entries.check(made)
    report = analysis(
        model, auxiliary, made, modules, candidates, wanted.sizes, wanted.implementation,
        checked=wanted.dataset is not None,
    )  # fmt: skip
    return Generated(made, report, tuple(modules), candidates)


def _definitions(placed: Placed, candidates: Candidates, *, keep_missing: bool) -> tuple[str, ...]:
    """A dangling name would be a dead link on the page: the dataset's own, unless asked."""
    left_out: Sequence[str] = () if keep_missing else (MISSING, DIFFERENT)
    return tuple(
        dict.fromkeys(c.name for c in candidates.of(placed.wants) if c.status not in left_out)
    )


def with_words(generated: Generated, name: str | None, description: str | None) -> Generated:
    """The same with other words, where they are given: somebody wrote better ones."""
    entry = generated.entry
    words = {"name": name or entry.name, "description": description or entry.description}
    if words == {"name": entry.name, "description": entry.description}:
        return generated
    report = {**generated.report, **words}
    return replace(generated, entry=replace(entry, **words), report=report)
