"""What workloads leave in a dataset: lines and blobs, once, and nothing of others changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernelkit.capture.sanitize import outcome as outcomes
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Environment, Evaluation, Status
from kernelkit.dataset.workload import RandomInput, SafetensorsInput
from kernelkit.ops import rmsnorm

from .conftest import PAGED_DECODE, SAMPLING, Dump, Float, files, fill, sanitize, workloads


def test_the_second_time_adds_nothing(filled: Dataset, bundled: Path) -> None:
    before = files(filled)
    outcome = sanitize(bundled, filled)
    assert outcomes.document(outcome, dry_run=False)["added"] == 0
    assert files(filled) == before


@pytest.mark.parametrize("settings", [{"most": 2}, {"per_axes": 1}, {"store": "random"}])
def test_a_choice_made_twice_is_the_same(
    dataset: Dataset, llama: list[Definition], bundled: Path, settings: dict[str, Any]
) -> None:
    fill(dataset, llama)
    sanitize(bundled, dataset, **settings)
    before = files(dataset)
    sanitize(bundled, dataset, **settings)
    assert files(dataset) == before
    assert len(workloads(dataset)[PAGED_DECODE]) == (2 if "most" in settings else 4)


def test_dry_run_writes_nothing(dataset: Dataset, llama: list[Definition], bundled: Path) -> None:
    fill(dataset, llama)
    before = files(dataset)
    outcome = sanitize(bundled, dataset, dry_run=True)
    assert outcomes.document(outcome, dry_run=True)["added"] == 17
    assert files(dataset) == before


def test_lines_of_others_stay(filled: Dataset, bundled: Path) -> None:
    definition = filled.find_definition(PAGED_DECODE)
    path = filled.workload_path(definition)
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    uuid = json.loads(first)["workload"]["uuid"]
    foreign = first.replace(uuid, "foreign").replace(": ", ":")
    path.write_text(foreign, encoding="utf-8")
    sanitize(bundled, filled)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == foreign
    assert sorted(lines[1:]) == sorted([first, *rest])


def test_replacing_drops_lines_and_their_blobs_but_not_those_of_traces(
    filled: Dataset, dump: Dump
) -> None:
    definition = filled.find_definition(PAGED_DECODE)
    old = filled.workloads_of(definition)
    kept = old[0]
    verdict = Evaluation(
        status=Status.RUNTIME_ERROR, environment=Environment(hardware="cpu"), timestamp="now"
    )
    trace = kept.model_copy(update={"solution": "s", "evaluation": verdict})
    filled.append_traces(definition, [trace])
    norms = filled.workloads_of(filled.find_definition("rmsnorm_h4096"))
    dump.plan([0, 5])
    dump.run(1)
    outcome = sanitize(dump.root, filled, replace=True)
    (written,) = (item.written for item in outcome.definitions)
    assert written is not None and (written.added, written.removed) == (1, 4)
    (line,) = filled.workloads_of(definition)
    sources = (line.workload.inputs["kv_indptr"], kept.workload.inputs["kv_indptr"])
    stay = {filled.root / s.path for s in sources if isinstance(s, SafetensorsInput)}
    assert set(filled.blob_folder(definition).iterdir()) == stay and len(stay) == 2
    assert filled.workloads_of(filled.find_definition("rmsnorm_h4096")) == norms


def test_equal_tensors_are_stored_once(dataset: Dataset, decode: Definition, dump: Dump) -> None:
    """The pool differs, so these are two workloads; their page tables are one blob."""
    dataset.write_definition(decode)
    dump.plan([0, 5])
    dump.run(1, pool=(100, 8, 128))
    dump.run(1, pool=(200, 8, 128))
    sanitize(dump.root, dataset)
    assert [w.axes["num_pages"] for w in workloads(dataset)[decode.name]] in (
        [100, 200],
        [200, 100],
    )
    assert len(list(dataset.blob_folder(decode).iterdir())) == 1


def test_layers_of_one_step_are_one_workload(
    dataset: Dataset, decode: Definition, dump: Dump
) -> None:
    dataset.write_definition(decode)
    for indptr in ([0, 5], [0, 6]):
        dump.plan(indptr)
        for _ in range(4):
            dump.run(1)
    outcome = sanitize(dump.root, dataset)
    assert outcome.matched[decode.name] == 8
    assert outcome.definitions[0].distinct == 2


def test_floats_are_stored_when_asked_for(dataset: Dataset, dump: Dump) -> None:
    definition = rmsnorm.FAMILY.definition(8, 1e-6)
    dataset.write_definition(definition)
    torch = pytest.importorskip("torch")
    rows, weight = torch.randn(3, 8).bfloat16(), torch.ones(8).bfloat16()
    folder = dump.call("rmsnorm", Float((3, 8)), Float((8,)))
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file

    save_file({"arg_0": rows, "arg_1": weight}, folder / "inputs.safetensors")
    sanitize(dump.root, dataset, store="all")
    (workload,) = workloads(dataset)[definition.name]
    source = workload.inputs["hidden_states"]
    assert isinstance(source, SafetensorsInput)
    stored = load(dataset.root / source.path)
    assert torch.equal(stored["hidden_states"], rows) and torch.equal(stored["weight"], weight)


def test_the_fewest_tensors(dataset: Dataset, llama: list[Definition], bundled: Path) -> None:
    fill(dataset, llama)
    sanitize(bundled, dataset, store="random")
    found = workloads(dataset)
    assert isinstance(found[SAMPLING][0].inputs["top_k"], RandomInput)
    assert isinstance(found[PAGED_DECODE][0].inputs["kv_indices"], SafetensorsInput)


def test_a_bad_workload_file_is_one_definitions_error(filled: Dataset, bundled: Path) -> None:
    path = filled.workload_path(filled.find_definition(PAGED_DECODE))
    path.write_text("{not json\n", encoding="utf-8")
    norms = filled.workload_path(filled.find_definition("rmsnorm_h4096"))
    norms.unlink()
    outcome = sanitize(bundled, filled)
    assert outcome.failed
    assert path.read_text(encoding="utf-8") == "{not json\n"
    assert len(norms.read_text(encoding="utf-8").splitlines()) == 2


def test_nothing_is_written_outside_the_dataset(
    dataset: Dataset, decode: Definition, dump: Dump, tmp_path: Path
) -> None:
    folder = dataset.root / "definitions" / "gqa_paged"
    folder.mkdir()
    text = json.dumps({**decode.to_json(), "op_type": "../../../outside"})
    (folder / f"{decode.name}.json").write_text(text, encoding="utf-8")
    dump.plan([0, 5])
    dump.run(1)
    before = sorted(tmp_path.rglob("*"))
    outcome = sanitize(dump.root, dataset)
    assert outcome.failed or not outcome.definitions
    assert sorted(tmp_path.rglob("*")) == before
