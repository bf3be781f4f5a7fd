"""Recorded calls become workloads of the right definitions, with the recorded index data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from kernelkit.capture.sanitize import outcome as outcomes
from kernelkit.capture.sanitize import pipeline
from kernelkit.capture.sanitize.outcome import Outcome
from kernelkit.capture.sanitize.pipeline import Settings
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Environment, Evaluation, Status
from kernelkit.dataset.validate.run import validate
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.ops import gqa_paged, rmsnorm

from .conftest import Dump, Float

DECODE = "gqa_paged_decode_h32_kv8_d128_ps1"
SAMPLING = "top_k_top_p_sampling_from_probs_v128256"
EVERYTHING = Settings(most=None, per_axes=None)


def _fill(dataset: Dataset, definitions: list[Definition]) -> None:
    for definition in definitions:
        dataset.write_definition(definition)


def _sanitize(dump: Path, dataset: Dataset, **settings: Any) -> Outcome:
    chosen = Settings(**{"most": None, "per_axes": None, **settings})
    return pipeline.sanitize(dump, dataset, list(dataset.definitions().values()), chosen)


def _workloads(dataset: Dataset) -> dict[str, list[Workload]]:
    found: dict[str, list[Workload]] = {}
    for line in dataset.load_workloads():
        assert line.value is not None and line.value.is_workload
        found.setdefault(line.value.definition, []).append(line.value.workload)
    return found


def _files(dataset: Dataset) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in dataset.root.rglob("*") if p.is_file()}


@pytest.fixture
def filled(dataset: Dataset, llama: list[Definition], bundled: Path) -> Dataset:
    """Llama's definitions and all workloads of the bundled dump."""
    _fill(dataset, llama)
    _sanitize(bundled, dataset)
    return dataset


def test_what_the_bundled_dump_gives(filled: Dataset) -> None:
    assert {name: len(found) for name, found in _workloads(filled).items()} == {
        "rmsnorm_h4096": 2,
        "fused_add_rmsnorm_h4096": 1,
        DECODE: 4,
        "gqa_ragged_prefill_causal_h32_kv8_d128": 1,
        SAMPLING: 1,
        "gemm_n6144_k4096": 2,
        "gemm_n4096_k4096": 2,
        "gemm_n28672_k4096": 2,
        "gemm_n4096_k14336": 2,
    }


def test_the_validator_finds_nothing(filled: Dataset) -> None:
    report = validate(filled)
    assert (report.counts["workloads"], report.findings) == (17, [])


def test_decode_keeps_the_page_table(filled: Dataset) -> None:
    workload = _workloads(filled)[DECODE][0]
    assert set(workload.axes) == {"batch_size", "num_pages", "len_indptr", "num_kv_indices"}
    assert (workload.axes["batch_size"], workload.axes["num_pages"]) == (4, 2049)
    assert all(isinstance(workload.inputs[n], RandomInput) for n in ("q", "k_cache", "v_cache"))
    scale, table = workload.inputs["sm_scale"], workload.inputs["kv_indptr"]
    assert isinstance(scale, ScalarInput) and scale.value == pytest.approx(128**-0.5)
    assert isinstance(table, SafetensorsInput)
    tensors = load_file(filled.root / table.path)
    assert set(tensors) == {"kv_indptr", "kv_indices"}
    steps = [0, 18, 83, 89, 123], [0, 19, 85, 92, 127], [0, 20, 87, 95, 131], [0, 21, 89, 98, 135]
    assert tensors["kv_indptr"].tolist() in steps


def test_sampling_keeps_the_settings(filled: Dataset) -> None:
    (workload,) = _workloads(filled)[SAMPLING]
    source = workload.inputs["top_k"]
    assert isinstance(source, SafetensorsInput)
    tensors = load_file(filled.root / source.path)
    assert tensors["top_k"].tolist() == [50] * 4
    assert np.allclose(tensors["top_p"], 0.9)


def test_gemm_rows_are_the_tokens_of_each_step(filled: Dataset) -> None:
    found = _workloads(filled)["gemm_n6144_k4096"]
    assert sorted(workload.axes["M"] for workload in found) == [4, 119]


def test_gemm_of_another_model_gets_none(
    dataset: Dataset, llama: list[Definition], bundled: Path
) -> None:
    others = [
        d.model_copy(update={"tags": ["model:other"]}) if d.op_type == "gemm" else d for d in llama
    ]
    _fill(dataset, others)
    _sanitize(bundled, dataset)
    assert not any(name.startswith("gemm") for name in _workloads(dataset))


def test_each_workload_says_where_it_comes_from(filled: Dataset) -> None:
    found = _workloads(filled)
    provenance = found[DECODE][0].provenance
    assert provenance is not None
    assert (provenance.source, provenance.flashinfer_version) == ("level10", "0.6.12")
    assert provenance.assumed == ["sm_scale"]
    assert provenance.call is not None and "BatchDecode" in provenance.call
    derived = found["gemm_n6144_k4096"][0].provenance
    assert derived is not None and "norms" in derived.source


def test_what_a_dump_does_not_say_can_be_told(
    dataset: Dataset, llama: list[Definition], bundled: Path
) -> None:
    _fill(dataset, llama)
    _sanitize(bundled, dataset, known={"model": "llama-3.1-8b", "weights": "dummy"})
    for found in _workloads(dataset).values():
        assert all(w.provenance is not None and w.provenance.weights == "dummy" for w in found)


def test_the_second_time_adds_nothing(filled: Dataset, bundled: Path) -> None:
    before = _files(filled)
    outcome = _sanitize(bundled, filled)
    assert outcomes.document(outcome, dry_run=False)["added"] == 0
    assert _files(filled) == before


@pytest.mark.parametrize("settings", [{"most": 2}, {"per_axes": 1}, {"store": "random"}])
def test_a_choice_made_twice_is_the_same(
    dataset: Dataset, llama: list[Definition], bundled: Path, settings: dict[str, Any]
) -> None:
    _fill(dataset, llama)
    _sanitize(bundled, dataset, **settings)
    before = _files(dataset)
    _sanitize(bundled, dataset, **settings)
    assert _files(dataset) == before
    assert len(_workloads(dataset)[DECODE]) == (2 if "most" in settings else 4)


def test_dry_run_writes_nothing(dataset: Dataset, llama: list[Definition], bundled: Path) -> None:
    _fill(dataset, llama)
    before = _files(dataset)
    outcome = _sanitize(bundled, dataset, dry_run=True)
    assert outcomes.document(outcome, dry_run=True)["added"] == 17
    assert _files(dataset) == before


def test_lines_of_others_stay(filled: Dataset, bundled: Path) -> None:
    definition = filled.find_definition(DECODE)
    path = filled.workload_path(definition)
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    uuid = json.loads(first)["workload"]["uuid"]
    foreign = first.replace(uuid, "foreign").replace(": ", ":")
    path.write_text(foreign, encoding="utf-8")
    _sanitize(bundled, filled)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == foreign
    assert sorted(lines[1:]) == sorted([first, *rest])


def test_replacing_drops_lines_and_their_blobs_but_not_those_of_traces(
    filled: Dataset, dump: Dump
) -> None:
    definition = filled.find_definition(DECODE)
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
    outcome = _sanitize(dump.root, filled, replace=True)
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
    _sanitize(dump.root, dataset)
    assert [w.axes["num_pages"] for w in _workloads(dataset)[decode.name]] in (
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
    outcome = _sanitize(dump.root, dataset)
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
    _sanitize(dump.root, dataset, store="all")
    (workload,) = _workloads(dataset)[definition.name]
    source = workload.inputs["hidden_states"]
    assert isinstance(source, SafetensorsInput)
    stored = load(dataset.root / source.path)
    assert torch.equal(stored["hidden_states"], rows) and torch.equal(stored["weight"], weight)


def test_the_fewest_tensors(dataset: Dataset, llama: list[Definition], bundled: Path) -> None:
    _fill(dataset, llama)
    _sanitize(bundled, dataset, store="random")
    found = _workloads(dataset)
    assert isinstance(found[SAMPLING][0].inputs["top_k"], RandomInput)
    assert isinstance(found[DECODE][0].inputs["kv_indices"], SafetensorsInput)


@pytest.mark.parametrize(
    ("heads", "kv", "page_size", "difference"),
    [
        (28, 4, 1, ["num_qo_heads: recorded 28, definition 32", "num_kv_heads: recorded 4"]),
        (32, 8, 64, ["page_size: recorded 64, definition 1"]),
    ],
)
def test_a_call_without_a_definition_names_the_nearest(
    dataset: Dataset, dump: Dump, heads: int, kv: int, page_size: int, difference: list[str]
) -> None:
    for sizes in ((32, 8, 128, 1), (64, 8, 128, 1), (16, 16, 64, 1)):
        dataset.write_definition(gqa_paged.FAMILY.definition(*sizes, prefill=False))
    dump.plan([0, 5], heads=heads, kv=kv, page_size=page_size)
    pool = (99, kv, 128) if page_size == 1 else (99, 64, kv, 128)
    dump.run(1, heads=heads, pool=pool)
    dump.run(1, heads=heads, pool=pool)
    outcome = _sanitize(dump.root, dataset)
    (missed,) = outcome.missed.values()
    assert (missed.count, missed.nearest) == (2, DECODE)
    assert all(part in "; ".join(missed.differs) for part in difference)
    assert not (dataset.root / "workloads").exists()


def test_a_call_enters_only_the_definitions_whose_axes_are_proven(
    dataset: Dataset, dump: Dump
) -> None:
    sizes = [(32, 8, 128, 1), (32, 8, 128, 64), (32, 4, 128, 1), (32, 8, 64, 1), (16, 8, 128, 1)]
    for each in sizes:
        dataset.write_definition(gqa_paged.FAMILY.definition(*each, prefill=False))
        dataset.write_definition(gqa_paged.FAMILY.definition(*each, prefill=True))
    dump.plan([0, 5])
    dump.run(1)
    _sanitize(dump.root, dataset)
    assert list(_workloads(dataset)) == [DECODE]


def test_another_epsilon_is_another_definition(dataset: Dataset, bundled: Path) -> None:
    dataset.write_definition(rmsnorm.FAMILY.definition(4096, 1e-6))
    outcome = _sanitize(bundled, dataset)
    differs = [m.differs for m in outcome.missed.values() if m.nearest == "rmsnorm_h4096"]
    assert ["eps: recorded 1e-05, definition 1e-06"] in differs


def test_a_tag_that_ends_in_run_or_none_at_all(
    dataset: Dataset, decode: Definition, dump: Dump
) -> None:
    tagged = decode.model_copy(
        update={"tags": ["fi_api:flashinfer.BatchDecodeWithPagedKVCacheWrapper.run"]}
    )
    untagged = decode.model_copy(update={"name": f"{decode.name}_x", "tags": []})
    _fill(dataset, [tagged, untagged])
    dump.plan([0, 5])
    dump.run(1)
    _sanitize(dump.root, dataset)
    assert sorted(_workloads(dataset)) == [tagged.name, untagged.name]


def test_broken_calls_are_named_and_the_rest_is_written(
    dataset: Dataset, decode: Definition, dump: Dump
) -> None:
    dataset.write_definition(decode)
    dump.plan([0, 5])
    dump.run(1)
    bad = dump.plan([0, 5], indices=[1, 2, 3, 4, 9999])
    places = [dump.run(1).name, dump.run(1).name]
    (dump.run(1) / "metadata.jsonl").unlink()
    outcome = _sanitize(dump.root, dataset)
    document = outcomes.document(outcome, dry_run=False)
    assert document["added"] == 1
    kinds = {item["kind"]: item for item in document["unusable"]}
    assert {kind: item["count"] for kind, item in kinds.items()} == {
        "index out of range": 2, "no metadata": 1,
    }  # fmt: skip
    assert [c["call"] for c in kinds["index out of range"]["calls"]] == places
    assert bad.name not in places


def test_a_bad_workload_file_is_one_definitions_error(filled: Dataset, bundled: Path) -> None:
    path = filled.workload_path(filled.find_definition(DECODE))
    path.write_text("{not json\n", encoding="utf-8")
    norms = filled.workload_path(filled.find_definition("rmsnorm_h4096"))
    norms.unlink()
    outcome = _sanitize(bundled, filled)
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
    outcome = _sanitize(dump.root, dataset)
    assert outcome.failed or not outcome.definitions
    assert sorted(tmp_path.rglob("*")) == before


def test_only_what_was_asked_for(dataset: Dataset, llama: list[Definition], bundled: Path) -> None:
    _fill(dataset, llama)
    wanted = pipeline.chosen_definitions(dataset, None, ["sampling"])
    outcome = pipeline.sanitize(bundled, dataset, wanted, EVERYTHING)
    assert list(_workloads(dataset)) == [SAMPLING]
    assert outcome.missed == {}


@pytest.mark.parametrize(
    ("names", "op_types", "error"),
    [(["absent"], None, UsageError), (None, ["nothing"], NothingSelectedError)],
)
def test_unknown_selections(
    filled: Dataset, names: Any, op_types: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        pipeline.chosen_definitions(filled, names, op_types)


def test_no_dump_and_no_calls(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such dump"):
        _sanitize(tmp_path / "absent", dataset)
    with pytest.raises(NothingSelectedError, match="no recorded call"):
        _sanitize(dataset.root, dataset)


def test_the_full_dump_gives_the_same(
    extra: Path, filled: Dataset, tmp_path: Path, llama: list[Definition]
) -> None:
    other = Dataset.create(tmp_path / "other")
    _fill(other, llama)
    _sanitize(extra / "data" / "captures" / "level10_dumps" / "llama8b", other)
    assert _workloads(other) == _workloads(filled)
