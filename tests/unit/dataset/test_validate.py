"""One planted fault for each code, in a dataset that is otherwise sound."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from kernelkit.dataset.store import LFS_MAGIC, Dataset
from kernelkit.dataset.validate import CODES, validate
from kernelkit.dataset.validate.references import check_reference
from kernelkit.errors import NothingSelectedError

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


# (code, what is changed, how): the file's document by a Change, or the dataset by a function.
PLANTED: list[tuple[str, str | None, Any]] = [
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
ELSEWHERE = {
    "R14",
    "R15",
    "R16",  # tests/unit/bench/test_smoke.py
    "P5",
}  # test_a_check_that_fails_hides_no_file


def test_the_sound_dataset_has_no_findings(sound: Dataset) -> None:
    report = validate(sound)
    assert [f"{f.code} {f.place} {f.message}" for f in report.findings] == []
    assert report.counts == {"definitions": 2, "workloads": 2, "solutions": 1, "traces": 1,
                             "missing descriptions": 11}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "path", "change"), PLANTED, ids=[f"{i}-{c}" for i, (c, _, _) in enumerate(PLANTED)]
)
def test_planted_fault_is_found(
    sound: Dataset,
    edit: Callable[[str, Change], Path],
    code: str,
    path: str | None,
    change: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if path is None:
        change(sound)
    else:
        edit(path, change)
    found = [finding for finding in validate(sound).findings if finding.code == code]
    assert found, [(f.code, f.message) for f in validate(sound).findings]
    assert all(f.message and f.fix and f.file for f in found)
    assert not (tmp_path / "planted").exists(), "a constraint was executed"


def test_every_code_is_planted() -> None:
    assert {code for code, _, _ in PLANTED} | ELSEWHERE == set(CODES)


def test_one_broken_file_hides_no_other(sound: Dataset, edit: Callable[..., Path]) -> None:
    (sound.root / NORM_FILE).write_text("{")
    edit(PAGED_FILE, field("inputs.q.dtype", "uint8"))
    lines = sound.root / PAGED_LINES
    lines.write_text('{"cut": \n' + lines.read_text())
    edit(SOLUTION, field("spec.language", "fortran"))
    with (sound.root / TRACES).open("a") as file:
        file.write("{}\n")
    found = {(f.code, f.file) for f in validate(sound).findings}
    assert {("P1", NORM_FILE), ("S1", PAGED_FILE), ("W0", PAGED_LINES), ("L0", SOLUTION),
            ("T0", TRACES)} <= found  # fmt: skip


def test_a_check_that_fails_hides_no_file(
    sound: Dataset, edit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(NORM_FILE, reference("def run(hidden_states):\n    return hidden_states\n"))

    def failing(document: Document) -> list[Any]:
        if document["name"] == PAGED:
            raise RuntimeError("a fault of the validator")
        return [*check_reference(document)]

    def lazily(document: Document) -> Iterator[Any]:
        yield from failing(document)

    monkeypatch.setattr("kernelkit.dataset.validate.run.check_reference", lazily)
    found = {(f.code, f.file) for f in validate(sound).findings}
    assert found == {("P5", PAGED_FILE), ("R1", NORM_FILE)}


def test_a_fault_of_the_format_hides_none_of_the_reference(
    sound: Dataset, edit: Callable[..., Path]
) -> None:
    edit(PAGED_FILE, field("inputs.q.dtype", "unknown"))
    edit(PAGED_FILE, reference("import flashinfer\n" + RUN.replace("q, ", "") + "    return k\n"))
    found = {f.code for f in validate(sound).findings}
    assert {"S1", "R1", "R4", "R5"} <= found


# Each is sound: what a stricter check would wrongly report.
SOUND: list[tuple[str, Change]] = [
    (PAGED_FILE, reference(RUN.replace("sm_scale", "sm_scale, block=64") + BODY)),
    (PAGED_FILE, reference(RUN.replace("sm_scale", "sm_scale, *, block=64") + BODY)),
    (PAGED_FILE, reference(RUN + "    sm_scale *= 2\n" + BODY)),
    (PAGED_FILE, reference(RUN + "    q = q.clone()\n    q[0] = 0\n" + BODY)),
    (PAGED_FILE, reference("from torch import *\n" + RUN + "    return zeros(1), q\n")),
    (PAGED_FILE, reference("def f(x: Missing) -> Missing:\n    return x\n" + RUN + BODY)),
    (PAGED_FILE, reference(RUN + "    rows = [r for r in q]\n    return rows[0], q\n")),
    (PAGED_FILE, reference(RUN + "    def inner():\n        return 1, 2, 3\n" + BODY)),
    (PAGED_FILE, reference("A = 1\nclass C:\n    b = A\n" + RUN + "    C.b\n" + BODY)),
    (PAGED_FILE, field("constraints", ["sm_scale > 0", "q.shape[0] == batch_size"])),
    (PAGED_LINES, field("workload.axes.num_pages", 600)),
    (SOLUTION, compiled('extern "C" void run() {}')),
    (SOLUTION, field("sources.0.content", "def make():\n    return 1\nrun = make()\n")),
    (SOLUTION, field("sources.0.content", "def run(x, w, eps=1e-6):\n    return x\n")),
    (SOLUTION, field("spec.dependencies", [])),
]


@pytest.mark.parametrize(("path", "change"), SOUND, ids=range(len(SOUND)))
def test_sound_forms_give_no_finding(
    sound: Dataset, edit: Callable[[str, Change], Path], path: str, change: Change
) -> None:
    edit(path, change)
    assert [(f.code, f.message) for f in validate(sound).findings] == []


def test_a_scalar_is_known_to_the_constraints(sound: Dataset, edit: Callable[..., Path]) -> None:
    edit(PAGED_FILE, field("constraints", ["sm_scale > 0"]))
    edit(PAGED_LINES, field("workload.inputs.sm_scale.value", -1.0))
    assert {f.code for f in validate(sound).findings} == {"W8"}


def test_what_is_broken_is_still_there_for_its_traces(
    sound: Dataset, edit: Callable[..., Path]
) -> None:
    edit(SOLUTION, field("spec.language", "fortran"))
    edit("workloads/rmsnorm/rmsnorm_h64.jsonl", field("workload.axes", []))
    assert {f.code for f in validate(sound).findings} == {"L0", "W0"}


def test_every_line_is_printable(sound: Dataset) -> None:
    text = (sound.root / NORM_FILE).read_text()
    (sound.root / NORM_FILE).write_text(text.replace('"tags":', '"a\\nb\\ud800": 1, "tags":'))
    odd = [f.field for f in validate(sound).findings if f.code == "S0"]
    assert odd == ["a\\nb\\ud800"]


def test_selection(sound: Dataset, edit: Callable[..., Path]) -> None:
    edit(PAGED_FILE, field("axes.page_size.value", 8))
    edit(SOLUTION, field("spec.destination_passing_style", True))
    assert {f.code for f in validate(sound, names=["rmsnorm_h64"]).findings} == {"L7"}
    assert "L7" not in {f.code for f in validate(sound, op_types=["gqa_paged"]).findings}
    only = {f.code for f in validate(sound, checks=["layout", "trace"]).findings}
    assert only == set()


@pytest.mark.parametrize(
    "options",
    [
        {"names": ["rmsnorm_h46"]},
        {"op_types": ["norm"]},
        {"names": ["rmsnorm_h64", "absent"]},
        {"names": ["rmsnorm_h64"], "op_types": ["gqa_paged"]},
    ],
)
def test_a_selection_that_matches_nothing_is_an_error(
    sound: Dataset, options: dict[str, Any]
) -> None:
    with pytest.raises(NothingSelectedError):
        validate(sound, **options)


def test_an_empty_dataset_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(NothingSelectedError):
        validate(dataset)


def test_published_workloads(extra: Path, tmp_path: Path) -> None:
    """Their blobs are absent here, two lines have no pages; nothing else is wrong."""
    dataset = Dataset.create(tmp_path / "published")
    shutil.copytree(extra / "data" / "workloads", dataset.root / "workloads")
    names = {path.stem for path in dataset.files("workloads", ".jsonl")}
    for path in (extra / "data" / "definition_signatures").rglob("*.json"):
        document = json.loads(path.read_text())
        text = f"def run({', '.join(document['inputs'])}):\n    raise NotImplementedError\n"
        document["reference"] = text
        target = dataset.root / "definitions" / document["op_type"] / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(document))
    start = time.perf_counter()
    report = validate(dataset, checks=["workload"])
    assert time.perf_counter() - start < 5
    assert report.counts["workloads"] > 100
    unknown = {n for n in names if n not in report.definitions}
    for finding in report.findings:
        is_unknown = Path(finding.file).stem in unknown
        assert finding.code in (("B2", "W1") if is_unknown else ("B2", "W9")), finding
    assert sum(finding.code == "W9" for finding in report.findings) == 2
