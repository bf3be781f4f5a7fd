"""Recorded calls become workloads of the right definitions, with the recorded index data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from kernelkit.capture.sanitize import outcome as outcomes
from kernelkit.capture.sanitize import pipeline
from kernelkit.capture.sanitize.pipeline import Settings
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate.run import validate
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, ScalarInput
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.ops import gqa_paged, rmsnorm

from .conftest import PAGED_DECODE, SAMPLING, Dump, fill, sanitize, workloads

EVERYTHING = Settings(most=None, per_axes=None)


def test_what_the_bundled_dump_gives(filled: Dataset) -> None:
    assert {name: len(found) for name, found in workloads(filled).items()} == {
        "rmsnorm_h4096": 2,
        "fused_add_rmsnorm_h4096": 1,
        PAGED_DECODE: 4,
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
    workload = workloads(filled)[PAGED_DECODE][0]
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
    (workload,) = workloads(filled)[SAMPLING]
    source = workload.inputs["top_k"]
    assert isinstance(source, SafetensorsInput)
    tensors = load_file(filled.root / source.path)
    assert tensors["top_k"].tolist() == [50] * 4
    assert np.allclose(tensors["top_p"], 0.9)


def test_gemm_rows_are_the_tokens_of_each_step(filled: Dataset) -> None:
    found = workloads(filled)["gemm_n6144_k4096"]
    assert sorted(workload.axes["M"] for workload in found) == [4, 119]


def test_gemm_of_another_model_gets_none(
    dataset: Dataset, llama: list[Definition], bundled: Path
) -> None:
    others = [
        d.model_copy(update={"tags": ["model:other"]}) if d.op_type == "gemm" else d for d in llama
    ]
    fill(dataset, others)
    sanitize(bundled, dataset)
    assert not any(name.startswith("gemm") for name in workloads(dataset))


def test_each_workload_says_where_it_comes_from(filled: Dataset) -> None:
    found = workloads(filled)
    provenance = found[PAGED_DECODE][0].provenance
    assert provenance is not None
    assert (provenance.source, provenance.flashinfer_version) == ("level10", "0.6.12")
    assert provenance.assumed == ["sm_scale"]
    assert provenance.call is not None and "BatchDecode" in provenance.call
    derived = found["gemm_n6144_k4096"][0].provenance
    assert derived is not None and "norms" in derived.source


def test_what_a_dump_does_not_say_can_be_told(
    dataset: Dataset, llama: list[Definition], bundled: Path
) -> None:
    fill(dataset, llama)
    known = {"model": "llama-3.1-8b", "weights": "dummy"}
    left_open = {"sglang_version": "0.5.14", "flashinfer_version": "the dump knows better"}
    sanitize(bundled, dataset, known=known, otherwise=left_open)
    for found in workloads(dataset).values():
        assert all(w.provenance is not None and w.provenance.weights == "dummy" for w in found)
    provenance = workloads(dataset)[PAGED_DECODE][0].provenance
    assert provenance is not None
    assert (provenance.sglang_version, provenance.flashinfer_version) == ("0.5.14", "0.6.12")


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
    outcome = sanitize(dump.root, dataset)
    (missed,) = outcome.missed.values()
    assert (missed.count, missed.nearest) == (2, PAGED_DECODE)
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
    sanitize(dump.root, dataset)
    assert list(workloads(dataset)) == [PAGED_DECODE]


def test_another_epsilon_is_another_definition(dataset: Dataset, bundled: Path) -> None:
    dataset.write_definition(rmsnorm.FAMILY.definition(4096, 1e-6))
    outcome = sanitize(bundled, dataset)
    differs = [m.differs for m in outcome.missed.values() if m.nearest == "rmsnorm_h4096"]
    assert ["eps: recorded 1e-05, definition 1e-06"] in differs


def test_a_tag_that_ends_in_run_or_none_at_all(
    dataset: Dataset, decode: Definition, dump: Dump
) -> None:
    tagged = decode.model_copy(
        update={"tags": ["fi_api:flashinfer.BatchDecodeWithPagedKVCacheWrapper.run"]}
    )
    untagged = decode.model_copy(update={"name": f"{decode.name}_x", "tags": []})
    fill(dataset, [tagged, untagged])
    dump.plan([0, 5])
    dump.run(1)
    sanitize(dump.root, dataset)
    assert sorted(workloads(dataset)) == [tagged.name, untagged.name]


def test_broken_calls_are_named_and_the_rest_is_written(
    dataset: Dataset, decode: Definition, dump: Dump
) -> None:
    dataset.write_definition(decode)
    dump.plan([0, 5])
    dump.run(1)
    bad = dump.plan([0, 5], indices=[1, 2, 3, 4, 9999])
    places = [dump.run(1).name, dump.run(1).name]
    (dump.run(1) / "metadata.jsonl").unlink()
    outcome = sanitize(dump.root, dataset)
    document = outcomes.document(outcome, dry_run=False)
    assert document["added"] == 1
    kinds = {item["kind"]: item for item in document["unusable"]}
    assert {kind: item["count"] for kind, item in kinds.items()} == {
        "index out of range": 2, "no metadata": 1,
    }  # fmt: skip
    assert [c["call"] for c in kinds["index out of range"]["calls"]] == places
    assert bad.name not in places


def test_only_what_was_asked_for(dataset: Dataset, llama: list[Definition], bundled: Path) -> None:
    fill(dataset, llama)
    wanted = pipeline.chosen_definitions(dataset, None, ["sampling"])
    outcome = pipeline.sanitize(bundled, dataset, wanted, EVERYTHING)
    assert list(workloads(dataset)) == [SAMPLING]
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
        sanitize(tmp_path / "absent", dataset)
    with pytest.raises(NothingSelectedError, match="no recorded call"):
        sanitize(dataset.root, dataset)


def test_the_full_dump_gives_the_same(
    extra: Path, filled: Dataset, tmp_path: Path, llama: list[Definition]
) -> None:
    other = Dataset.create(tmp_path / "other")
    fill(other, llama)
    sanitize(extra / "data" / "captures" / "level10_dumps" / "llama8b", other)
    assert workloads(other) == workloads(filled)
