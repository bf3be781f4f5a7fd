"""Which inputs a solution is examined on."""

from __future__ import annotations

import json

import pytest
from planted_solutions import DEFINITIONS

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.errors import FormatError, UsageError
from kernelkit.solutions.doctor import cases

torch = pytest.importorskip("torch")

DECODE = DEFINITIONS["gqa_decode_ps4"]()


def test_the_cases_of_a_family() -> None:
    found = {case.name: case for case in cases.small_cases(DECODE, {}, "cpu")}
    assert {"small", "again", "single", "more", "probe_empty"} <= set(found)
    assert len(found["single"].inputs["q"]) == 1
    assert len(found["more"].inputs["q"]) == 5
    again, small = found["again"].inputs, found["small"].inputs
    assert again["q"].shape == small["q"].shape and not torch.equal(again["q"], small["q"])
    assert not torch.equal(again["kv_indices"], small["kv_indices"])


def test_axes_of_the_command_line_replace_the_tiny_ones() -> None:
    axes = cases.small_axes(DECODE, {"batch_size": 6})
    assert axes["len_indptr"] == 7
    found = [case.name for case in cases.small_cases(DECODE, {"batch_size": 6}, "cpu")]
    assert "single" not in found and "more" not in found
    with pytest.raises(UsageError, match="no such variable axis"):
        cases.small_axes(DECODE, {"head_dim": 3})


def test_edges_reach_padding_and_other_ranks() -> None:
    mtp = DEFINITIONS["gdn_mtp"]()
    found = {case.name: case for case in cases.small_cases(mtp, {}, "cpu")}
    assert int(found["edge"].inputs["initial_state_indices"][0]) == -1
    assert found["default"].inputs["scale"] == 0.0
    rank = {case.name: case for case in cases.small_cases(DEFINITIONS["moe_rank"](), {}, "cpu")}
    assert rank["edge"].inputs["local_expert_offset"] == 4


def test_large_inputs_have_fewer_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "MOST_BYTES", 1000)
    assert [case.name for case in cases.small_cases(DECODE, {}, "cpu")] == ["small"]


def _workload(dataset: Dataset, path: str) -> None:
    gemm = DEFINITIONS["gemm"]()
    dataset.write_definition(gemm)
    recorded = {"type": "safetensors", "path": path, "tensor_key": "A"}
    line = {
        "definition": gemm.name,
        "workload": {
            "uuid": "w1", "axes": {"M": 3}, "inputs": {"A": recorded, "B": {"type": "random"}},
        },
    }  # fmt: skip
    dataset.write_workloads(gemm, [Trace.model_validate_json(json.dumps(line))])


def test_a_workload_brings_its_recorded_tensors(dataset: Dataset) -> None:
    from safetensors.torch import save_file

    gemm, a = DEFINITIONS["gemm"](), torch.full((3, 72), 2.0, dtype=torch.float16)
    save_file({"A": a}, dataset.root / "a.safetensors")
    _workload(dataset, "a.safetensors")
    (case,) = cases.workload_cases(dataset, gemm, "w1", "cpu")
    assert torch.equal(case.inputs["A"], a) and case.inputs["B"].shape == (80, 72)
    with pytest.raises(UsageError, match="no such workload"):
        list(cases.workload_cases(dataset, gemm, "w2", "cpu"))


def test_a_missing_blob_is_named(dataset: Dataset) -> None:
    _workload(dataset, "absent.safetensors")
    with pytest.raises(FormatError, match="absent"):
        list(cases.workload_cases(dataset, DEFINITIONS["gemm"](), "w1", "cpu"))
