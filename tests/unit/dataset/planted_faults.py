"""One planted fault for each code of the validator, and the changes of a dataset that make them.

A fault is (code, path, change): the change is given the document of the file at that path, or
without a path the dataset.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from kernelkit.dataset.store import LFS_MAGIC, Dataset

PAGED = "gqa_paged_decode_h4_kv2_d64_ps16"
PAGED_FILE = f"definitions/gqa_paged/{PAGED}.json"
PAGED_LINES = f"workloads/gqa_paged/{PAGED}.jsonl"
BLOB = f"blob/workloads/gqa_paged/{PAGED}/one.safetensors"
NORM_FILE = "definitions/rmsnorm/rmsnorm_h64.json"
SOLUTION = "solutions/someone/rmsnorm/rmsnorm_h64/plain_norm.json"
TRACES = "traces/rmsnorm/rmsnorm_h64.jsonl"
BODY = "    return q, q\n"
RUN = "def run(q, k_cache, v_cache, kv_indptr, kv_indices, kv_last_page_len, sm_scale):\n"

Document = dict[str, Any]
Change = Callable[[Document], object]
Fault = tuple[str, str | None, Any]


def field(path: str, value: object) -> Change:
    """Set a dotted field; `None` as the value deletes it."""
    *parents, last = path.split(".")

    def change(document: Any) -> None:
        for key in parents:
            document = document[int(key) if isinstance(document, list) else key]
        if value is None:
            del document[last]
        else:
            document[last] = value

    return change


def reference(text: str) -> Change:
    """Another reference text."""
    return field("reference", text)


def blob(**changes: list[int] | numpy.ndarray) -> Callable[[Dataset], None]:
    """Replace tensors of the blob."""

    def change(dataset: Dataset) -> None:
        tensors = load_file(dataset.root / BLOB)
        for name, values in changes.items():
            tensors[name] = numpy.asarray(values, getattr(values, "dtype", numpy.int32))
        save_file(tensors, dataset.root / BLOB)

    return change


def copy(source: str, target: str) -> Callable[[Dataset], None]:
    """Another copy of a file."""

    def change(dataset: Dataset) -> None:
        (dataset.root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset.root / source, dataset.root / target)

    return change


def write(path: str, data: bytes) -> Callable[[Dataset], None]:
    """Other bytes."""
    return lambda dataset: (dataset.root / path).write_bytes(data)


def twice(path: str) -> Callable[[Dataset], None]:
    """Every line twice."""
    return lambda dataset: (dataset.root / path).write_text((dataset.root / path).read_text() * 2)


def sources(*paths: str) -> Change:
    """Sources of these paths beside main.py."""
    return lambda document: document["sources"].extend(
        {"path": path, "content": "x = 1\n"} for path in paths
    )


def doubled(path: str, key: str) -> Callable[[Dataset], None]:
    """A key of the document twice."""

    def change(dataset: Dataset) -> None:
        text = (dataset.root / path).read_text()
        (dataset.root / path).write_text(text.replace(key, f'{key} "other", {key}', 1))

    return change


def const(value: int) -> Document:
    """A constant axis."""
    return {"type": "const", "value": value}


def header(document: object, data: bytes = b"") -> bytes:
    """A safetensors file of that header."""
    text = json.dumps(document).encode()
    return struct.pack("<Q", len(text)) + text + data


def compiled(text: str) -> Change:
    """A CUDA solution of that text, with the entry point main.cu::run."""

    def change(document: Document) -> None:
        document["spec"].update(language="cuda", entry_point="main.cu::run")
        document["sources"] = [{"path": "main.cu", "content": text}]

    return change


def each(faults: list[Fault]) -> pytest.MarkDecorator:
    """A test of each fault, by its place in the table and its code."""
    names = [f"{number}-{code}" for number, (code, _, _) in enumerate(faults)]
    return pytest.mark.parametrize(("code", "path", "change"), faults, ids=names)


LAYOUT_AND_DEFINITIONS: list[Fault] = [
    ("P1", None, write(NORM_FILE, b"{ not json")),
    ("P1", None, write(NORM_FILE, LFS_MAGIC + b"\noid sha256:0\nsize 5\n")),
    ("P2", NORM_FILE, field("name", "rmsnorm_h64_eps1e-6")),
    ("P3", NORM_FILE, field("op_type", "norms")),
    ("P4", None, copy(NORM_FILE, "definitions/rmsnorm/copy.json")),
    ("P4", None, copy(NORM_FILE, "definitions/norms/rmsnorm_h64.json")),
    ("P6", None, copy(TRACES, "definitions/rmsnorm/rmsnorm_h64.jsonl")),
    ("P6", None, copy(BLOB, BLOB.replace("one", "two"))),
    ("S0", PAGED_FILE, field("inputs.q.otional", True)),
    ("S0", PAGED_LINES, field("workload.inputs.q.seed", 3)),
    ("S0", PAGED_LINES, field("workload.axis", {})),
    ("S0", TRACES, field("evaluation.performance.latency_us", 3)),
    ("S0", PAGED_FILE, field("axes.head_dim.vale", 3)),
    ("S0", SOLUTION, field("spec.compile_flags", "-O3")),
    ("S1", PAGED_FILE, field("inputs.kv_indptr.dtype", "unknown")),
    ("S1", PAGED_FILE, field("inputs.q.dtype", "uint8")),
    ("S2", PAGED_FILE, field("reference", None)),
    ("S3", PAGED_FILE, reference("def main():\n    pass\n")),
    ("S3", PAGED_FILE, reference("def run(:\n")),
    ("S3", PAGED_FILE, reference(RUN + BODY + "return 3\n")),
    ("S3", PAGED_FILE, reference(RUN + "    x = '\0'\n" + BODY)),
    ("S4", PAGED_FILE, lambda d: d["outputs"].update(q=d["outputs"].pop("lse"))),
    ("S5", PAGED_FILE, field("axes.head_dim.value", None)),
    ("S5", PAGED_FILE, field("axes.head_dim.value", -1)),
    ("S6", PAGED_FILE, field("inputs.q.shape", ["batch_size", "K_div_32"])),
    ("S7", PAGED_FILE, field("constraints", ["a ==="])),
    ("S7", PAGED_FILE, field("constraints", ["a\0"])),
    ("S7", PAGED_FILE, field("constraints", ["-" * 5000 + "1"])),
    ("S8", PAGED_FILE, field("tags", "not a list")),
    ("S8", PAGED_FILE, field("constraints", 5)),
    ("S8", PAGED_FILE, field("inputs.q.shape", [{}])),
    ("S9", PAGED_FILE, field("outputs", {})),
    ("S10", None, doubled(NORM_FILE, '"op_type":')),
    ("S10", None, doubled(SOLUTION, '"author":')),
    ("I2", PAGED_FILE, field("outputs.lse.optional", True)),
    ("R1", PAGED_FILE, reference(RUN.replace("q, k_cache", "k_cache, q") + BODY)),
    ("R1", PAGED_FILE, reference(RUN.replace(", sm_scale", "") + BODY)),
    ("R1", PAGED_FILE, reference(RUN.replace("sm_scale", "sm_scale, more") + BODY)),
    ("R2", PAGED_FILE, reference(RUN.replace("q, k_cache", "q, *, k_cache") + BODY)),
    ("R3", PAGED_FILE, reference(RUN.replace("sm_scale", "sm_scale, **rest") + BODY)),
    ("R4", PAGED_FILE, reference(RUN + "    return _rotate(q), torch.zeros(1)\n")),
    ("R5", PAGED_FILE, reference("import flashinfer\n" + RUN + BODY)),
    ("R6", PAGED_FILE, reference(RUN + "    return (q,)\n")),
    ("R6", PAGED_FILE, reference(RUN + "    q + 1\n")),
    ("R6", PAGED_FILE, reference(RUN + "    return {'output': q, 'lse': q}\n")),
    ("R7", PAGED_FILE, field("axes.more", {"type": "var"})),
    ("R8", PAGED_FILE, field("inputs.kv_indices.optional", True)),
    ("R9", PAGED_FILE, field("constraints", ["len_indptr == batches + 1"])),
    ("R10", PAGED_FILE, field("constraints", ["__import__('os').system('touch planted')"])),
    ("R10", PAGED_FILE, field("constraints", ["batch_size ** batch_size > 0"])),
    ("R10", PAGED_FILE, field("constraints", ["q.shape[0]"])),
    ("R11", PAGED_FILE, field("constraints", ["1 == 2"])),
    ("R11", PAGED_FILE, field("constraints", ["head_dim % 0 == 1"])),
    ("R11", PAGED_FILE, field("constraints", ["head_dim.shape[0] == 1"])),
    ("R11", PAGED_FILE, field("constraints", ["num_qo_heads % 3 == 0"])),
    ("R12", PAGED_FILE, reference(RUN + "    k_cache[0] = 0\n" + BODY)),
    ("R12", PAGED_FILE, reference(RUN + "    q.mul_(2)\n" + BODY)),
    ("R12", PAGED_FILE, reference(RUN + "    q += 1\n" + BODY)),
    ("R12", PAGED_FILE, reference(RUN + "    abs(q, out=v_cache)\n" + BODY)),
    ("R13", PAGED_FILE, reference("import numpy\n" + RUN + BODY)),
    ("A1", PAGED_FILE, field("axes.num_kv_heads.value", 128)),
    ("A1", PAGED_FILE, field("axes.num_kv_heads.value", 3)),
    ("A1", NORM_FILE, lambda d: d["axes"].update(nheads=const(6), ngroups=const(4))),
    ("A2", PAGED_FILE, field("axes.head_dim.value", 100)),
    ("A3", PAGED_FILE, field("axes.page_size.value", 8)),
    ("A4", PAGED_FILE, field("tags", ["fi_api:gqa decode"])),
]
WORKLOADS_AND_BLOBS: list[Fault] = [
    ("W0", None, lambda d: (d.root / PAGED_LINES).write_text('{"definition": "x", "workl\n')),
    ("W1", PAGED_LINES, field("definition", "no_such_definition")),
    ("W2", PAGED_LINES, field("definition", "rmsnorm_h64")),
    ("W3", PAGED_LINES, field("solution", "plain_norm")),
    ("W4", PAGED_LINES, field("workload.axes.num_pages", None)),
    ("W4", PAGED_LINES, field("workload.axes.head_dim", 128)),
    ("W5", PAGED_LINES, field("workload.inputs.q", None)),
    ("W5", PAGED_LINES, field("workload.inputs.more", {"type": "random"})),
    ("W6", PAGED_LINES, field("workload.inputs.kv_indices", {"type": "random"})),
    ("W6", PAGED_LINES, field("workload.inputs.q", {"type": "scalar", "value": 1})),
    ("W6", PAGED_LINES, field("workload.inputs.sm_scale", {"type": "random"})),
    ("W6", PAGED_LINES, field("workload.inputs.kv_last_page_len", {"type": "random"})),
    ("W7", None, twice(PAGED_LINES)),
    ("W8", PAGED_LINES, field("workload.axes.batch_size", 7)),
    ("W9", PAGED_LINES, field("workload.axes.num_pages", 0)),
    ("B1", PAGED_LINES, field("workload.inputs.kv_indptr.path", "/etc/hostname")),
    ("B1", PAGED_LINES, field("workload.inputs.kv_indptr.path", "blob/../../x.safetensors")),
    ("B1", PAGED_LINES, field("workload.inputs.kv_indptr.path", "traces/x.safetensors")),
    ("B2", None, lambda d: (d.root / BLOB).unlink()),
    ("B3", None, write(BLOB, LFS_MAGIC + b"\noid sha256:0\nsize 5\n")),
    ("B4", None, write(BLOB, b"\xff" * 40)),
    ("B4", None, lambda d: (d.root / BLOB).write_bytes((d.root / BLOB).read_bytes()[:-8])),
    ("B4", None, write(BLOB, header({"x": 1}))),
    ("B4", None, write(BLOB, header([]))),
    ("B4", None, write(BLOB, header({"x": {"dtype": "I32", "shape": [3], "data_offsets": [0]}}))),
    (
        "B4",
        None,
        write(BLOB, header({"x": {"dtype": "I32", "shape": [3], "data_offsets": [0, 4]}}, b"0000")),
    ),
    ("B4", PAGED_LINES, field("workload.inputs.kv_indptr.path", "blob/" + "x" * 300)),
    ("B5", PAGED_LINES, field("workload.inputs.kv_indptr.tensor_key", "indptr")),
    ("B6", None, blob(kv_last_page_len=[16, 0])),
    ("B7", None, blob(kv_indptr=numpy.array([0, 2, 2, 5], numpy.int64))),
    ("B8", None, blob(kv_indptr=[0, 3, 2, 5])),
    ("B8", None, blob(kv_indptr=[1, 2, 2, 5])),
    ("B8", None, blob(kv_indptr=[0, 2, 2, 4])),
    ("B9", None, blob(kv_indices=[3, 0, 6, 1, 2])),
    ("B9", None, blob(kv_indices=[3, 0, -1, 1, 2])),
    ("B10", None, blob(kv_last_page_len=[17, 0, 7])),
    ("B10", None, blob(kv_last_page_len=[16, 0, 0])),
]
SOLUTIONS_AND_TRACES: list[Fault] = [
    ("L0", SOLUTION, field("spec.language", "fortran")),
    ("L0", SOLUTION, field("spec.entry_point", "other.py::run")),
    ("L1", SOLUTION, field("definition", "no_such_definition")),
    ("L2", SOLUTION, field("author", "someone-else")),
    ("L3", None, copy(SOLUTION, SOLUTION.replace("plain_norm", "copy"))),
    ("L4", SOLUTION, sources("../escape.py")),
    ("L4", SOLUTION, sources("..\\escape.py")),
    ("L4", SOLUTION, sources("/abs.py")),
    ("L4", SOLUTION, sources("./main.py")),
    ("L4", SOLUTION, sources("main.py/inner.py")),
    ("L5", SOLUTION, field("sources.0.content", "def run(:\n")),
    ("L6", SOLUTION, field("spec.entry_point", "main.py::absent")),
    ("L6", SOLUTION, field("spec.entry_point", "main.py::")),
    ("L6", SOLUTION, compiled("void other() {}")),
    ("L7", SOLUTION, field("sources.0.content", "def run(x, w, *, eps):\n    return x\n")),
    ("L7", SOLUTION, field("spec.destination_passing_style", True)),
    ("T0", TRACES, field("evaluation.performance", None)),
    ("T1", TRACES, field("definition", "no_such_definition")),
    ("T2", TRACES, field("solution", "absent")),
    ("T3", TRACES, field("workload.uuid", "w-9")),
    ("T4", TRACES, field("evaluation.performance.speedup_factor", 9.0)),
    ("T5", TRACES, field("evaluation.performance.latency_ms", 0.0)),
    ("T6", TRACES, field("evaluation", None)),
    ("T4", TRACES, field("evaluation.performance.reference_latency_ms", 0.0)),
    ("T7", TRACES, field("definition", PAGED)),
    ("T7", None, copy(TRACES, "traces/norms/rmsnorm_h64.jsonl")),
    ("T8", TRACES, field("workload.axes.batch_size", 7)),
]
PLANTED = LAYOUT_AND_DEFINITIONS + WORKLOADS_AND_BLOBS + SOLUTIONS_AND_TRACES
