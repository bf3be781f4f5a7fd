"""A small sound dataset on disk, of which the fuzzers change one file at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.ops import family

PAGED = family("gqa_paged").definition(4, 2, 64, 16, prefill=False)
NORM = family("rmsnorm").definition(64, 1e-6)
BLOB = save({
    "kv_indptr": numpy.array([0, 2, 2, 5], numpy.int32),
    "kv_indices": numpy.array([3, 0, 5, 1, 2], numpy.int32),
    "kv_last_page_len": numpy.array([16, 0, 7], numpy.int32),
})  # fmt: skip
BLOB_PATH = f"blob/workloads/gqa_paged/{PAGED.name}/one.safetensors"
WORKLOAD: dict[str, Any] = {
    "definition": PAGED.name, "solution": None, "evaluation": None,
    "workload": {
        "uuid": "w-1",
        "axes": {"batch_size": 3, "len_indptr": 4, "num_kv_indices": 5, "num_pages": 6},
        "inputs": {
            **{name: {"type": "random"} for name in ("q", "k_cache", "v_cache")},
            **{name: {"type": "safetensors", "path": BLOB_PATH, "tensor_key": name}
               for name in ("kv_indptr", "kv_indices", "kv_last_page_len")},
            "sm_scale": {"type": "scalar", "value": 0.125},
        },
    },
}  # fmt: skip
SOLUTION: dict[str, Any] = {
    "name": "plain_norm", "definition": NORM.name, "author": "someone",
    "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
             "dependencies": [], "destination_passing_style": False},
    "sources": [
        {"path": "main.py", "content": "from .help import one\n\n\n"
         "def run(hidden_states, weight):\n    return one(hidden_states)\n"},
        {"path": "help.py", "content": "def one(x):\n    return x\n"},
    ],
}  # fmt: skip
TRACE: dict[str, Any] = {
    "definition": NORM.name, "solution": "plain_norm",
    "workload": {"uuid": "w-2", "axes": {"batch_size": 2},
                 "inputs": {n: {"type": "random"} for n in ("hidden_states", "weight")}},
    "evaluation": {
        "status": "PASSED", "environment": {"hardware": "cpu", "libs": {"torch": "2.8"}},
        "timestamp": "2026-01-01T00:00:00Z", "log": "",
        "correctness": {"max_relative_error": 0.0, "max_absolute_error": 0.0,
                        "extra": {"timing": {"method": "cuda events", "median_ms": 2.0}}},
        "performance": {"latency_ms": 2.0, "reference_latency_ms": 3.0, "speedup_factor": 1.5}},
}  # fmt: skip
FILES = {
    "definition": f"definitions/gqa_paged/{PAGED.name}.json",
    "workload": f"workloads/gqa_paged/{PAGED.name}.jsonl",
    "solution": f"solutions/someone/rmsnorm/{NORM.name}/plain_norm.json",
    "trace": f"traces/rmsnorm/{NORM.name}.jsonl",
    "blob": BLOB_PATH,
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "definition": PAGED.to_json(), "workload": WORKLOAD, "solution": SOLUTION, "trace": TRACE,
}  # fmt: skip


def lay_out(root: Path) -> Dataset:
    """The dataset, anew: what a case before has left is overwritten."""
    dataset = Dataset.create(root)
    for definition in (PAGED, NORM):
        dataset.write_definition(definition)
    own = {"definition": NORM.name, "workload": TRACE["workload"]}
    dataset.write_workloads(NORM, [Trace.model_validate(own)])
    for kind, path in FILES.items():
        if kind != "definition":
            document = DOCUMENTS.get(kind)
            data = BLOB if document is None else json.dumps(document).encode() + b"\n"
            place(root, kind, data, path)
    return dataset


def place(root: Path, kind: str, data: bytes, path: str | None = None) -> Path:
    """Put a file of this kind into the dataset."""
    file = root / (path or FILES[kind])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
