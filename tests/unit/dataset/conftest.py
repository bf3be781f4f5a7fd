"""A small sound dataset: two definitions, workloads with recorded tensors, a solution, a trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.validate import validate
from kernelkit.ops import family

sys.path.insert(0, str(Path(__file__).parent))  # planted_faults.py, for the tests beside it

PAGED = "gqa_paged_decode_h4_kv2_d64_ps16"
NORM = "rmsnorm_h64"


@pytest.fixture
def sound(tmp_path: Path) -> Dataset:
    """The dataset; the validator finds nothing in it."""
    dataset = Dataset.create(tmp_path / "sound")
    paged = family("gqa_paged").definition(4, 2, 64, 16, prefill=False)
    norm = family("rmsnorm").definition(64, 1e-6)
    for definition in (paged, norm):
        dataset.write_definition(definition)
    blob = dataset.blob_folder(paged) / "one.safetensors"
    blob.parent.mkdir(parents=True)
    save_file(
        {
            "kv_indptr": numpy.array([0, 2, 2, 5], numpy.int32),
            "kv_indices": numpy.array([3, 0, 5, 1, 2], numpy.int32),
            "kv_last_page_len": numpy.array([16, 0, 7], numpy.int32),
        },
        blob,
    )
    recorded = {
        name: {"type": "safetensors", "path": f"./{dataset.relative(blob)}", "tensor_key": name}
        for name in ("kv_indptr", "kv_indices", "kv_last_page_len")
    }
    inputs = {n: {"type": "random"} for n in ("q", "k_cache", "v_cache")} | recorded
    axes = {"batch_size": 3, "len_indptr": 4, "num_kv_indices": 5, "num_pages": 6}
    workload = {"uuid": "w-1", "axes": axes,
                "inputs": inputs | {"sm_scale": {"type": "scalar", "value": 0.125}}}  # fmt: skip
    line = Trace.model_validate({"definition": PAGED, "workload": workload})
    dataset.write_workloads(paged, [line])
    dataset.write_solution(solution(), norm)
    norm_line = Trace.model_validate({
        "definition": NORM,
        "workload": {"uuid": "w-2", "axes": {"batch_size": 2},
                     "inputs": {n: {"type": "random"} for n in ("hidden_states", "weight")}},
    })  # fmt: skip
    dataset.write_workloads(norm, [norm_line])
    dataset.append_traces(norm, [trace(norm_line)])
    return dataset


def solution() -> Solution:
    """A solution of the norm."""
    return Solution.model_validate({
        "name": "plain_norm", "definition": NORM, "author": "someone",
        "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
                 "destination_passing_style": False},
        "sources": [{"path": "main.py",
                     "content": "def run(hidden_states, weight):\n    return hidden_states\n"}],
    })  # fmt: skip


def trace(line: Trace) -> Trace:
    """A passed evaluation of it."""
    return Trace.model_validate({
        "definition": NORM, "workload": line.workload.to_json(), "solution": "plain_norm",
        "evaluation": {
            "status": "PASSED", "environment": {"hardware": "cpu"}, "timestamp": "2026-01-01",
            "correctness": {"max_relative_error": 0.0, "max_absolute_error": 0.0},
            "performance": {"latency_ms": 2.0, "reference_latency_ms": 3.0,
                            "speedup_factor": 1.5}},
    })  # fmt: skip


@pytest.fixture
def edit(sound: Dataset) -> Callable[[str, Callable[[Any], Any]], Path]:
    """Change one JSON file, or the first line of a JSONL file, by a function."""

    def change(path: str, function: Callable[[Any], Any]) -> Path:
        file = sound.root / path
        first, *rest = file.read_text().splitlines() if path.endswith("l") else [file.read_text()]
        document = json.loads(first)
        function(document)
        file.write_text("\n".join([json.dumps(document), *rest]) + "\n")
        return file

    return change


@pytest.fixture
def assert_found(
    sound: Dataset,
    edit: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str, str | None, Any], None]:
    """Plant a fault of planted_faults.py; it must be found, explained, and not be executed."""

    def plant(code: str, path: str | None, change: Any) -> None:
        monkeypatch.chdir(tmp_path)
        if path is None:
            change(sound)
        else:
            edit(path, change)
        findings = validate(sound).findings
        found = [finding for finding in findings if finding.code == code]
        assert found, [(f.code, f.message) for f in findings]
        assert all(f.message and f.fix and f.file for f in found)
        assert not (tmp_path / "planted").exists(), "a constraint was executed"

    return plant


@pytest.fixture
def assert_sound(sound: Dataset, edit: Callable[..., Path]) -> Callable[[str, Any], None]:
    """Change a file; the validator must still find nothing."""

    def change(path: str, function: Any) -> None:
        edit(path, function)
        assert [(f.code, f.message) for f in validate(sound).findings] == []

    return change
