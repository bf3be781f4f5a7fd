"""Recorded calls become workloads of the right definitions, with the recorded index data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from kernelkit.capture import collect
from kernelkit.capture.calls import convert, forward_sizes
from kernelkit.capture.level10 import Call, load_calls
from kernelkit.capture.match import Found, workloads
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, ScalarInput
from kernelkit.ops import rmsnorm

DECODE = "gqa_paged_decode_h32_kv8_d128_ps1"
RAGGED = "gqa_ragged_prefill_causal_h32_kv8_d128"
SAMPLING = "top_k_top_p_sampling_from_probs_v128256"


@pytest.fixture
def calls(dump: Path) -> list[Call]:
    """The bundled dump's calls."""
    return load_calls(dump)[0]


@pytest.fixture
def found(calls: list[Call], llama: list[Definition]) -> Found:
    """The bundled dump's workloads."""
    return workloads(calls, llama)


def _count(found: Found) -> dict[str, int]:
    names = [row.definition.name for row in found.rows]
    return {name: names.count(name) for name in names}


def test_what_the_bundled_dump_gives(found: Found) -> None:
    assert _count(found) == {
        "rmsnorm_h4096": 2,
        "fused_add_rmsnorm_h4096": 1,
        DECODE: 4,
        RAGGED: 1,
        SAMPLING: 1,
        "gemm_n6144_k4096": 2,
        "gemm_n4096_k4096": 2,
        "gemm_n28672_k4096": 2,
        "gemm_n4096_k14336": 2,
    }


def test_decode_keeps_the_page_table(found: Found, calls: list[Call]) -> None:
    row = next(row for row in found.rows if row.definition.name == DECODE)
    workload = row.line.workload
    assert workload.axes == {
        "batch_size": 4, "num_pages": 2049, "len_indptr": 5, "num_kv_indices": 123,
    }  # fmt: skip
    assert isinstance(workload.inputs["q"], RandomInput)
    assert isinstance(workload.inputs["k_cache"], RandomInput)
    scale = workload.inputs["sm_scale"]
    assert isinstance(scale, ScalarInput) and scale.value == pytest.approx(128**-0.5)
    plan = next(call for call in calls if call.function.startswith("BatchDecode"))
    assert np.array_equal(row.tensors["kv_indptr"], plan.arguments["indptr"].data())
    assert np.array_equal(row.tensors["kv_indices"], plan.arguments["indices"].data())
    assert set(row.tensors) == {"kv_indptr", "kv_indices"}
    assert any("sm_scale" in note for note in found.notes)


def test_padded_indices_are_cut(calls: list[Call], llama: list[Definition]) -> None:
    """SGLang hands over index buffers that are longer than indptr says."""
    plan = next(call for call in calls if call.function.startswith("BatchDecode"))
    indices = plan.arguments["indices"]

    class Padded:
        def data(self) -> np.ndarray:
            return np.concatenate([indices.data(), np.zeros(50, np.int32)])

    padded = dataclasses.replace(plan, arguments={**plan.arguments, "indices": Padded()})
    changed = [padded if call is plan else call for call in calls]
    plain, cut = (workloads(c, llama).rows for c in (calls, changed))
    assert [row.line for row in cut] == [row.line for row in plain]


def test_sampling_keeps_the_settings(found: Found) -> None:
    row = next(row for row in found.rows if row.definition.name == SAMPLING)
    assert row.tensors["top_k"].tolist() == [50] * 4
    assert np.allclose(row.tensors["top_p"], 0.9)
    assert isinstance(row.line.workload.inputs["probs"], RandomInput)


def test_gemm_rows_are_the_tokens_of_each_step(found: Found, calls: list[Call]) -> None:
    assert forward_sizes(convert(calls)[0]) == {4096: [4, 119]}
    sizes = [
        row.line.workload.axes["M"]
        for row in found.rows
        if row.definition.name == "gemm_n6144_k4096"
    ]
    assert sizes == [4, 119]


def test_gemm_of_another_model_gets_none(calls: list[Call], llama: list[Definition]) -> None:
    others = [
        d.model_copy(update={"tags": ["model:other"]}) if d.op_type == "gemm" else d for d in llama
    ]
    assert not any(name.startswith("gemm") for name in _count(workloads(calls, others)))


def test_another_epsilon_is_another_definition(calls: list[Call]) -> None:
    other = rmsnorm.FAMILY.definition(4096, 1e-6)
    found = workloads(calls, [other])
    assert found.rows == []
    assert any("eps 1e-05" in note for note in found.notes)


def test_calls_that_did_not_complete_are_left_out(
    calls: list[Call], llama: list[Definition]
) -> None:
    broken = [dataclasses.replace(call, completed=False) for call in calls]
    found = workloads(broken, llama)
    assert found.rows == []
    assert any("14 calls did not complete" in note for note in found.notes)


def test_a_plan_without_any_run_is_noted(calls: list[Call], llama: list[Definition]) -> None:
    plans = [c for c in calls if c.function != "BatchDecodeWithPagedKVCacheWrapper.run"]
    found = workloads(plans, llama)
    assert DECODE not in _count(found)
    assert any("KV pool" in note for note in found.notes)


def test_a_run_takes_the_plan_before_it(calls: list[Call], llama: list[Definition]) -> None:
    """Two processes may have wrappers of the same id."""
    foreign = [
        dataclasses.replace(call, process=99)
        for call in calls
        if call.function == "BatchPrefillWithRaggedKVCacheWrapper.run"
    ]
    found = workloads([*calls, *foreign], llama)
    assert _count(found)[RAGGED] == 1
    assert any("no plan before this run" in note for note in found.notes)


def test_writing_twice_changes_nothing(found: Found, dataset: Dataset) -> None:
    first = collect.write(dataset, found.rows)
    assert sum(outcome.added for outcome in first) == len(found.rows)
    before = {p: p.read_bytes() for p in dataset.root.rglob("*") if p.is_file()}
    second = collect.write(dataset, found.rows)
    assert sum(outcome.added for outcome in second) == 0
    assert {p: p.read_bytes() for p in dataset.root.rglob("*") if p.is_file()} == before


def test_blobs_hold_what_the_lines_name(found: Found, dataset: Dataset) -> None:
    collect.write(dataset, found.rows)
    checked = 0
    for line in (loaded.value for loaded in dataset.load_workloads()):
        assert line is not None and line.is_workload
        for name, source in line.workload.inputs.items():
            if isinstance(source, SafetensorsInput):
                assert name in load_file(dataset.root / source.path)
                checked += 1
    assert checked == 4 * 2 + 2 + 2


def test_lines_of_others_stay(found: Found, dataset: Dataset) -> None:
    row = found.rows[0]
    path = dataset.workload_path(row.definition)
    path.parent.mkdir(parents=True)
    foreign = row.line.to_line().replace(row.line.workload.uuid, "foreign").replace(": ", ":")
    path.write_text(foreign, encoding="utf-8")
    collect.write(dataset, [row])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [foreign, row.line.to_line()]


def test_dry_run_writes_nothing(found: Found, dataset: Dataset) -> None:
    outcomes = collect.write(dataset, found.rows, dry_run=True)
    assert sum(outcome.added for outcome in outcomes) == len(found.rows)
    assert not (dataset.root / "workloads").exists()
    assert not (dataset.root / "blob").exists()


def test_the_full_dump_gives_the_same(extra: Path, found: Found, llama: list[Definition]) -> None:
    real = load_calls(extra / "data" / "captures" / "level10_dumps" / "llama8b")[0]
    assert [row.line for row in workloads(real, llama).rows] == [row.line for row in found.rows]
