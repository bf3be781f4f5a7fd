"""Which workloads are tuned for, and the text of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelkit.ops.base import check_axes
from kernelkit.solutions.tuning.trial import complete

if TYPE_CHECKING:
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.tuning.subject import Subject


def chosen(dataset: Dataset, subject: Subject, given: list[dict[str, int]]) -> list[dict[str, int]]:
    """The given axes, else those of the dataset's workloads: one for each size, the largest of it.

    Raises UsageError for axes that the definition has not, or lacks.
    """
    definition, size = subject.definition, subject.tables.size
    axes = [complete(definition, each) for each in given]
    for each in axes:
        check_axes(definition, each)
    if not axes:
        recorded = [line.workload.axes for line in dataset.workloads_of(definition)]
        by_size = {each[size]: each for each in sorted(recorded, key=lambda a: sum(a.values()))}
        axes = [by_size[key] for key in sorted(by_size) if key > 0]
    return axes


def as_text(document: dict[str, Any]) -> str:
    """The result for a person."""
    lines = [f"{document['definition']}: {document['main']}"]
    for name, values in document["space"].items():
        lines.append(f"  {name}: {', '.join(map(str, values))}")
    for each in document["found"]:
        failed = f", {len(each['failures'])} failed" if each["failures"] else ""
        lines.append(
            f"  {each['axes']}: {each['start_ms']:.4g} -> {each['best_ms']:.4g} ms, "
            f"{each['tried']} tried{failed}: {each['best']}"
        )
    if not document["found"]:
        lines += [f"  would tune for {axes}" for axes in document["workloads"]]
    lines.append("written" if document["written"] else "nothing written")
    return "\n".join(lines)
