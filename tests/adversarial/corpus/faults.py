"""Faults of a dataset itself, beside what is sound: each costs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.malformed import document

DEFINITION = "rmsnorm_h128"
UUID = "fault"  # of the workload that a fault adds
LINES = Path("workloads") / "rmsnorm" / f"{DEFINITION}.jsonl"


def _append(dataset: Path, text: str) -> None:
    with open(dataset / LINES, "a") as file:
        file.write(text)


def _workload(definition: str, weight: dict[str, Any]) -> str:
    """A workload line whose weight comes from there."""
    inputs = {"hidden_states": {"type": "random"}, "weight": weight}
    workload = {"uuid": UUID, "axes": {"batch_size": 3}, "inputs": inputs}
    line = {"definition": definition, "solution": None, "workload": workload, "evaluation": None}
    return json.dumps(line) + "\n"


def _recorded(path: str) -> str:
    return _workload(DEFINITION, {"type": "safetensors", "path": path, "tensor_key": "weight"})


def _garbage_blob(dataset: Path) -> None:
    (dataset / "blob").mkdir(exist_ok=True)
    (dataset / "blob" / "garbage.safetensors").write_bytes(b"\xff" * 64)
    _append(dataset, _recorded("blob/garbage.safetensors"))


def _reference(dataset: Path, body: str) -> None:
    """Another definition with that reference, a workload, and a solution for it."""
    folder = dataset / "definitions" / "rmsnorm"
    whole = json.loads((folder / f"{DEFINITION}.json").read_text())
    name = f"{DEFINITION}_fault"
    whole.update(name=name, reference=f"def run(hidden_states, weight):\n    {body}\n")
    (folder / f"{name}.json").write_text(json.dumps(whole))
    lines = dataset / LINES.with_name(f"{name}.jsonl")
    lines.write_text(_workload(name, {"type": "random"}))
    solution = dataset / "solutions" / "00000f" / "fault.json"
    solution.parent.mkdir(parents=True)
    solution.write_text(json.dumps(document("fault", definition=name)))


FAULTS: dict[str, Callable[[Path], None]] = {
    "fault_definition_truncated": lambda dataset: (
        dataset / "definitions" / "rmsnorm" / "aaa.json"
    ).write_text('{"name": "aaa", "op_type'),
    "fault_definition_not_utf8": lambda dataset: (
        dataset / "definitions" / "rmsnorm" / "aab.json"
    ).write_bytes(b'{"name": "\xff"}'),
    "fault_workload_truncated": lambda dataset: _append(dataset, '{"definition": "rmsnorm_h1'),
    "fault_workload_not_utf8": lambda dataset: (dataset / LINES).write_bytes(
        (dataset / LINES).read_bytes() + b"\xff\xfe\n"
    ),
    "fault_blob_missing": lambda dataset: _append(dataset, _recorded("blob/none.safetensors")),
    "fault_blob_garbage": _garbage_blob,
    "fault_blob_traversal": lambda dataset: _append(dataset, _recorded("../../../etc/passwd")),
    "fault_reference_raises": lambda dataset: _reference(dataset, "raise ValueError('reference')"),
    "fault_reference_exits": lambda dataset: _reference(dataset, "__import__('os')._exit(3)"),
    "fault_reference_nan": lambda dataset: _reference(
        dataset, "return hidden_states * float('nan')"
    ),
    "fault_reference_shape": lambda dataset: _reference(dataset, "return hidden_states[:1]"),
}
