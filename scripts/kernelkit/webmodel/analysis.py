"""model_analysis_{slug}.json: what the entry says, where it comes from, and what is missing.

Holds no time and no path of a machine, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.tags import fi_api_of
from kernelkit.models.auxiliary import Auxiliary
from kernelkit.models.load import Model
from kernelkit.webmodel.entry import Entry
from kernelkit.webmodel.hierarchy import Placed, groups
from kernelkit.webmodel.mapping import (
    DIFFERENT,
    MISSING,
    PRESENT,
    Candidate,
    Candidates,
    Sizes,
)

if TYPE_CHECKING:
    from kernelkit.sglang.implementation import Implementation

SCHEMA_VERSION = 1


def mappings(modules: Sequence[Placed], candidates: Candidates) -> Iterator[dict[str, Any]]:
    """One row for each module and definition that suits it."""
    for module in modules:
        for candidate in candidates.of(module.wants):
            row: dict[str, Any] = {
                "module": module.name,
                "definition": candidate.name,
                "op_type": candidate.definition.op_type,
                "status": candidate.status,
                "fi_api": fi_api_of(candidate.definition.tags),
            }
            if candidate.differences:
                row["differences"] = list(candidate.differences)
            yield row


def missing(candidates: Candidates, sizes: Sizes) -> list[Candidate]:
    """What the dataset lacks. Of sizes that nobody chose, one that is there stands for all."""
    absent = [c for c in candidates.found if c.status in (MISSING, DIFFERENT)]
    if sizes.chosen:
        return absent
    covered = {c.shape_free for c in candidates.found if c.status == PRESENT}
    return [c for c in absent if c.shape_free not in covered]


def unmapped(modules: Sequence[Placed], candidates: Candidates) -> Iterator[dict[str, str]]:
    """Layers without a definition, and why."""
    for module in modules:
        if module.type == "layer" and not candidates.of(module.wants):
            why = module.note or "no definition follows from the config"
            yield {"module": module.name, "reason": why}


def not_placed(modules: Sequence[Placed], candidates: Candidates) -> list[str]:
    """Derived definitions that no module runs."""
    placed = {c.name for module in modules for c in candidates.of(module.wants)}
    return [c.name for c in candidates.found if c.name not in placed]


def analysis(
    model: Model, auxiliary: Auxiliary, entry: Entry, modules: Sequence[Placed],
    candidates: Candidates, sizes: Sizes, implementation: Implementation | None,
    *, checked: bool,
) -> dict[str, Any]:  # fmt: skip
    """The report. checked: a dataset was searched."""
    from kernelkit.webmodel.evidence import compare

    spec = model.spec
    lacking = missing(candidates, sizes)
    return {
        "schema_version": SCHEMA_VERSION,
        "id": entry.id,
        "name": entry.name,
        "description": entry.description,
        "hf_repo_id": model.repo_id,
        "architecture": _architecture(model, auxiliary),
        "serving": {
            "parallel": [asdict(parallel) for parallel in sizes.parallel],
            "page_sizes": list(sizes.page_sizes),
            "chosen": sizes.chosen,
        },
        "modules": {
            placed.name: {**entry.modules[placed.name].as_dict(), "sublayer": placed.sublayer,
                          **({"note": placed.note} if placed.note else {})}
            for placed in modules
        },
        "mappings": list(mappings(modules, candidates)),
        "missing": [_lacking(candidate) for candidate in lacking] if checked else None,
        "unmapped": list(unmapped(modules, candidates)),
        "not_placed": not_placed(modules, candidates),
        "sglang": compare(modules, implementation) if implementation else None,
        "warnings": [
            *candidates.skipped,
            *(f"{name}: {spec.sources[f'undecided.{name}']}" for name in spec.undecided),
        ],
    }  # fmt: skip


def _architecture(model: Model, auxiliary: Auxiliary) -> dict[str, Any]:
    plain = model.spec.as_dict()
    del plain["layers"], plain["sources"]
    found = groups(model.spec, auxiliary)
    return {
        **plain,
        "layer_groups": {group.kind: [i for i, _ in group.layers] for group in found},
        "mtp_layers": auxiliary.mtp_layers,
        "towers": list(auxiliary.towers),
    }


def _lacking(candidate: Candidate) -> dict[str, Any]:
    row: dict[str, Any] = {
        "definition": candidate.name,
        "op_type": candidate.definition.op_type,
        "status": candidate.status,
        "tags": [t for t in candidate.definition.tags if t.startswith(("tp:", "ep:"))],
    }
    if candidate.differences:
        row["differences"] = list(candidate.differences)
    return row


def to_text(report: dict[str, Any]) -> str:
    """The file form."""
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"
