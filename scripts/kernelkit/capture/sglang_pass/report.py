"""What the passes showed of the expected definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.capture.recording import find
from kernelkit.capture.sglang_pass.planning import Plan
from kernelkit.capture.sglang_pass.running import PassResult
from kernelkit.dataset.store import Dataset

CAPTURED = "captured"
NOT_ROUTED = "not routed"
MISSING = "missing"
NOT_RUN = "not run"


@dataclass
class Found:
    """Calls of each definition, calls that fit none, and calls that could not be read."""

    calls: dict[str, int] = field(default_factory=dict)
    unmatched: list[dict[str, Any]] = field(default_factory=list)
    unusable: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One expected definition."""

    definition: str
    op_type: str
    status: str
    calls: int
    reason: str


def read_recordings(record: Path, plan: Plan, scratch: Path) -> Found:
    """Match what was recorded against the expected definitions, in a scratch dataset."""
    from kernelkit.capture.sanitize.pipeline import Settings, sanitize

    dataset = Dataset.create(scratch)
    for definition in plan.expected.values():
        dataset.write_definition(definition)
    if not find(record):
        return Found()
    wanted = [d for d in plan.expected.values() if any(t.startswith("fi_api:") for t in d.tags)]
    outcome = sanitize(record, dataset, wanted, Settings(dry_run=True))
    return Found(
        {name: count for name, count in outcome.matched.items() if name in plan.expected},
        [vars(item) for item in outcome.missed.values()],
        {kind: len(errors) for kind, errors in outcome.unusable.items()},
    )


def rows(plan: Plan, results: Sequence[PassResult], found: Found) -> list[Row]:
    """One row for each expected definition, in the order of derivation."""
    failed = [result for result in results if not result.ok]
    made = []
    for name, definition in plan.expected.items():
        calls = found.calls.get(name, 0)
        if definition.op_type == "gemm":
            calls = 0  # its workloads follow from norms; no GEMM is called through FlashInfer
        status, reason = _status(plan, name, calls, failed)
        made.append(Row(name, definition.op_type, status, calls, reason))
    return made


def _status(plan: Plan, name: str, calls: int, failed: Sequence[PassResult]) -> tuple[str, str]:
    if calls:
        return CAPTURED, ""
    if name in plan.absent:
        return NOT_ROUTED, plan.absent[name]
    if failed:
        said = "; ".join(f"{one.name}: {one.status}: {one.detail}" for one in failed[:3])
        return NOT_RUN, f"a pass that may show it failed ({said})"
    return MISSING, "no recorded call fits it, though SGLang is expected to make one"


def document(
    plan: Plan, results: Sequence[PassResult], found: Found, table: Sequence[Row]
) -> dict[str, Any]:
    """The report as JSON types."""
    counts: dict[str, int] = {}
    for row in table:
        counts[row.status] = counts.get(row.status, 0) + 1
    return {
        "model": plan.model,
        "counts": counts,
        "definitions": [vars(row) for row in table],
        "passes": [vars(result) for result in results],
        "unmatched": found.unmatched,
        "unusable": found.unusable,
        "notes": plan.notes,
    }


def text(plan: Plan, results: Sequence[PassResult], found: Found, table: Sequence[Row]) -> str:
    """The report for a person."""
    lines = [f"{r.name}: {r.status} in {r.seconds:g} s" + (f": {r.detail}" if r.detail else "")
             + (f" (try: {r.hint})" if r.hint and not r.ok else "") for r in results]  # fmt: skip
    width = max((len(row.definition) for row in table), default=0)
    lines.append("")
    for row in table:
        what = f"{row.calls} calls" if row.status == CAPTURED else row.reason
        lines.append(f"{row.definition:<{width}}  {row.status:<10}  {what}")
    for item in found.unmatched:
        differs = f"; nearest {item['nearest']}: {', '.join(item['differs'])}"
        lines.append(f"fits no definition: {item['count']} x {item['call']}"
                     + (differs if item["nearest"] else ""))  # fmt: skip
    lines += [f"not readable: {count} x {kind}" for kind, count in found.unusable.items()]
    counts = document(plan, results, found, table)["counts"]
    lines.append(f"{plan.model}: " + ", ".join(f"{n} {status}" for status, n in counts.items()))
    return "\n".join(lines)
