"""What is found wrong with workloads and their blobs, ours and published ones."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planted_faults import (
    PAGED_FILE,
    PAGED_LINES,
    WORKLOADS_AND_BLOBS,
    each,
    field,
)

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate import validate


@each(WORKLOADS_AND_BLOBS)
def test_planted_fault_of_a_workload_is_found(
    assert_found: Callable[..., None], code: str, path: str | None, change: Any
) -> None:
    assert_found(code, path, change)


def test_pages_that_no_request_uses_are_sound(assert_sound: Callable[[str, Any], None]) -> None:
    assert_sound(PAGED_LINES, field("workload.axes.num_pages", 600))


def test_a_scalar_is_known_to_the_constraints(sound: Dataset, edit: Callable[..., Path]) -> None:
    edit(PAGED_FILE, field("constraints", ["sm_scale > 0"]))
    edit(PAGED_LINES, field("workload.inputs.sm_scale.value", -1.0))
    assert {f.code for f in validate(sound).findings} == {"W8"}


def test_published_workloads(extra: Path, tmp_path: Path) -> None:
    """Their blobs are absent here, two lines have no pages; nothing else is wrong."""
    dataset = Dataset.create(tmp_path / "published")
    shutil.copytree(extra / "data" / "workloads", dataset.root / "workloads")
    names = {path.stem for path in dataset.files("workloads", ".jsonl")}
    for path in (extra / "data" / "definition_signatures").rglob("*.json"):
        document = json.loads(path.read_text())
        text = f"def run({', '.join(document['inputs'])}):\n    raise NotImplementedError\n"
        document["reference"] = text
        target = dataset.root / "definitions" / document["op_type"] / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(document))
    start = time.perf_counter()
    report = validate(dataset, checks=["workload"])
    assert time.perf_counter() - start < 5
    assert report.counts["workloads"] > 100
    unknown = {n for n in names if n not in report.definitions}
    for finding in report.findings:
        is_unknown = Path(finding.file).stem in unknown
        assert finding.code in (("B2", "W1") if is_unknown else ("B2", "W9")), finding
    assert sum(finding.code == "W9" for finding in report.findings) == 2
