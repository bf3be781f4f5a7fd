"""Records of runs, and the status that they give."""

from __future__ import annotations

import json
from typing import Any

import pytest
from samples import DEFINITIONS

from kernelkit.dataset.store import Dataset
from kernelkit.errors import FormatError
from kernelkit.reftests import outcomes
from kernelkit.reftests.plans import plan_of
from kernelkit.reftests.running import FileRun

NORM = DEFINITIONS["rmsnorm_h512"]
AGREES = "test_agrees_with_ground_truth[small-x]"


def _row(outcome: str, truth: str) -> dict[str, Any]:
    return {
        "test": AGREES, "outcome": outcome, "text": "why", "properties": {},
        "parameters": {"truth": truth, "size": "small"},
    }  # fmt: skip


def _record(*rows: dict[str, Any], untouched: bool = True, **changes: Any) -> outcomes.Record:
    run = FileRun(list(rows))
    return {
        **outcomes.record_of(NORM, plan_of(NORM).truths, run, untouched=untouched), **changes
    }  # fmt: skip


KERNEL = _row("passed", "flashinfer")
ORACLE = _row("passed", "torch")
ABSENT = _row("skipped", "flashinfer")


def test_only_a_kernel_proves_what_has_one() -> None:
    assert _record(KERNEL, ORACLE)["verified"] is True
    assert _record(ABSENT, ORACLE)["verified"] is False
    assert _record(KERNEL, _row("failed", "torch"))["verified"] is False
    assert _record(KERNEL, ORACLE, untouched=False)["verified"] is False
    assert _record(ABSENT)["status"] == "skipped"


def test_status_follows() -> None:
    def tags(record: outcomes.Record, held: outcomes.Record | None = None) -> list[str]:
        definition = NORM.model_copy(update={"tags": ["status:verified", "model:x"]})
        return outcomes.tagged(definition, record, held or {}).tags

    proof = _record(KERNEL)
    assert tags(proof) == ["status:verified", "model:x"]
    assert tags(_record(_row("failed", "torch"))) == ["status:unverified", "model:x"]
    assert tags(_record(ABSENT, ORACLE), proof) == ["status:verified", "model:x"]
    other = {**proof, "definition": "of another reference"}
    assert tags(_record(ABSENT, ORACLE), other) == ["status:unverified", "model:x"]


def test_a_proof_is_not_replaced_by_less(dataset: Dataset) -> None:
    path = dataset.root.joinpath(*outcomes.FILE)
    proof, less, failed = _record(KERNEL), _record(ABSENT, ORACLE), _record(_row("failed", "torch"))
    outcomes.save(dataset, {"a": proof})
    outcomes.save(dataset, {"a": less, "b": less})
    assert outcomes.load(path)["a"]["verified"] and not outcomes.load(path)["b"]["verified"]
    outcomes.save(dataset, {"a": failed})
    assert outcomes.load(path)["a"]["status"] == "failed"


def test_the_same_again_changes_nothing(dataset: Dataset) -> None:
    path = dataset.root.joinpath(*outcomes.FILE)
    outcomes.save(dataset, {"a": _record(ORACLE, time="then", duration_s=1.0)})
    before = path.read_bytes()
    outcomes.save(dataset, {"a": _record(ORACLE, time="now", duration_s=2.0)})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"schema_version": 9, "outcomes": {}})])
def test_a_foreign_file_is_kept(dataset: Dataset, text: str) -> None:
    path = dataset.root.joinpath(*outcomes.FILE)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match="move it away"):
        outcomes.save(dataset, {"a": _record(ORACLE)})
    assert path.read_text(encoding="utf-8") == text
