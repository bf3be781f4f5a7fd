"""Each item of the checklist passes on what is right and fails on what is planted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import publish_staging as staging
import pytest
from publish_staging import DECODE

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.inventory.manifest import Kernel
from kernelkit.publish import checklist, evidence
from kernelkit.publish.belongings import stage


def _results(dataset: Dataset) -> dict[str, checklist.Check]:
    staged = stage(dataset, DECODE, b"")
    held = evidence.gather(dataset, staged.definition, dataset)
    kernel = Kernel(definition_name=DECODE, op_type="gqa_paged", fi_status="fi_supported")
    return {c.name: c for c in checklist.review(dataset, held, staged.solutions, kernel)}


@pytest.fixture
def staged(dataset: Dataset) -> Dataset:
    """A complete submission."""
    staging.stage_decode(dataset)
    dataset.trace_path(staging.definition(DECODE)).unlink()
    lines = [staging.trace(staging.workload(n), "flashinfer_decode") for n in range(2)]
    dataset.append_traces(staging.definition(DECODE), lines)
    (dataset.root / "solutions" / "tester").rename(dataset.root.parent / "away")
    return dataset


def test_a_bare_tag_is_as_good_as_the_published_ones(staged: Dataset) -> None:
    _retag(staged, lambda tags: ["fused", *tags])
    assert _results(staged)["tags"].result == "pass"


def test_a_complete_submission_passes(staged: Dataset) -> None:
    assert {name: c.text for name, c in _results(staged).items() if c.result != "pass"} == {}


def _retag(dataset: Dataset, change: Callable[[list[str]], list[str]]) -> None:
    path = dataset.definition_path(staging.definition(DECODE))
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "tags": change(document["tags"])}))


def _reline(dataset: Dataset, change: Callable[[dict], None]) -> None:
    definition = staging.definition(DECODE)
    lines = [line.to_json() for line in dataset.workloads_of(definition)]
    change(lines[0]["workload"])
    dataset.write_workloads(definition, [Trace.model_validate(line) for line in lines])


def _no_model(dataset: Dataset) -> None:
    _retag(dataset, lambda tags: [t for t in tags if not t.startswith("model:")])


def _no_api(dataset: Dataset) -> None:
    _retag(dataset, lambda tags: [t for t in tags if not t.startswith("fi_api:")])


def _two_states(dataset: Dataset) -> None:
    _retag(dataset, lambda tags: [*tags, "status:verified"])


def _changed_reference(dataset: Dataset) -> None:
    path = dataset.definition_path(staging.definition(DECODE))
    document = json.loads(path.read_text())
    document["reference"] += "\n# another\n"
    path.write_text(json.dumps(document))


def _failed_test(dataset: Dataset) -> None:
    staging.record_test(dataset, staging.definition(DECODE), "failed")


def _random_indices(dataset: Dataset) -> None:
    _reline(dataset, lambda w: w["inputs"].update(kv_indices={"type": "random"}))


def _says_synthetic(dataset: Dataset) -> None:
    _reline(dataset, lambda w: w["provenance"].update(source="synthetic shapes"))


def _silent(dataset: Dataset) -> None:
    _reline(dataset, lambda w: w.pop("provenance"))


def _failed_trace(dataset: Dataset) -> None:
    bad = staging.trace(staging.workload(1), "flashinfer_decode", "RUNTIME_ERROR")
    dataset.append_traces(staging.definition(DECODE), [bad])


def _bare_workload(dataset: Dataset) -> None:
    definition, more = staging.definition(DECODE), staging.workload(2)
    staging.write_blob(dataset, more)
    dataset.write_workloads(definition, [*dataset.workloads_of(definition), more])


def _blob_gone(dataset: Dataset) -> None:
    (dataset.root / staging.workload(0).workload.inputs["kv_indptr"].path).unlink()


@pytest.mark.parametrize(
    ("plant", "name", "text"),
    [
        (_no_model, "tags", "no model: tag"),
        (_no_api, "tags", "no fi_api: tag"),
        (_two_states, "tags", "2 status: tags"),
        (_changed_reference, "tests run", "changed after its test ran"),
        (_failed_test, "tests run", "NVIDIA H200"),
        (_random_indices, "workloads not synthetic", "1 of 2"),
        (_says_synthetic, "workloads not synthetic", "1 of 2"),
        (_silent, "provenance", "1 workloads do not say"),
        (_failed_trace, "traces PASSED", "1 of 3"),
        (_bare_workload, "traces PASSED", "1 workloads have no trace"),
        (_blob_gone, "valid", "B2"),
    ],
)
def test_planted_faults(
    staged: Dataset, plant: Callable[[Dataset], None], name: str, text: str
) -> None:
    plant(staged)
    check = _results(staged)[name]
    assert check.result == "fail"
    assert text in check.text


def test_what_is_not_there_is_absent_not_wrong(dataset: Dataset) -> None:
    dataset.write_definition(staging.definition(DECODE))
    found = {name: check.result for name, check in _results(dataset).items()}
    assert found == {
        "valid": "pass", "tags": "pass", "tests run": "absent",
        "workloads not synthetic": "absent", "provenance": "absent",
        "baseline solution": "absent", "traces PASSED": "absent",
    }  # fmt: skip
    checks = list(_results(dataset).values())
    assert not checklist.ready(checks, allow_absent=False)
    assert checklist.ready(checks, allow_absent=True)


def test_a_broken_trace_line_is_named(staged: Dataset) -> None:
    path: Path = staged.trace_path(staging.definition(DECODE))
    path.write_text(path.read_text() + "{broken\n")
    from kernelkit.errors import FormatError

    with pytest.raises(FormatError, match=f"traces/gqa_paged/{DECODE}.jsonl:3"):
        stage(staged, DECODE, b"")


@pytest.mark.parametrize(
    ("changed", "wanted", "result"),
    [(["a"], ["a"], "pass"), (["a", "b"], ["a"], "fail"), (["a"], ["a", "b"], "fail")],
)
def test_files(changed: list[str], wanted: list[str], result: str) -> None:
    assert checklist.files_check("files", changed, wanted).result == result
