"""Hostile files in a dataset: each is one finding, and hides no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz_samples import BLOB, DOCUMENTS, FILES, NORM, PAGED, TRACE, WORKLOAD, lay_out, place
from hostile import (
    as_file,
    budget,
    changed_bytes,
    changed_document,
    hostile_json,
    refused_or_read,
    snapshot,
)
from hypothesis import given
from hypothesis import strategies as st

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, load_json, load_jsonl
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.validate import validate
from kernelkit.solutions import documents, pack, unpack

KINDS = ("definition", "workload", "solution", "trace")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "inside" / "dataset"


def _validated(dataset: Dataset) -> None:
    """The validator's own checks fail on no file (P5); what is sound stays sound."""
    report = validate(dataset)
    surprises = [f for f in report.findings if f.as_dict()["code"] == "P5"]
    assert not surprises, [f.as_dict() for f in surprises]
    json.dumps([f.as_dict() for f in report.findings]).encode("utf-8")
    assert NORM.name in report.definitions


def test_the_sample_is_sound(root: Path) -> None:
    report = validate(lay_out(root))
    assert [f.as_dict() for f in report.findings if f.severity == "error"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_a_dataset(root: Path, kind: str) -> None:
    hostile = hostile_json(DOCUMENTS[kind], lines=FILES[kind].endswith("l"))

    @budget()
    @given(hostile)
    def check(data: bytes) -> None:
        dataset = lay_out(root)
        place(root, kind, data)
        before = snapshot(root.parent)
        for load in (dataset.load_definitions, dataset.load_solutions, dataset.load_workloads,
                     dataset.load_traces):  # fmt: skip
            for loaded in load():
                assert (loaded.value is None) == bool(loaded.error)
        for definition in (PAGED, NORM):
            refused_or_read(lambda definition=definition: dataset.workloads_of(definition))
            refused_or_read(lambda definition=definition: dataset.traces_of(definition))
            refused_or_read(lambda definition=definition: dataset.find_definition(definition.name))
        _validated(dataset)
        assert snapshot(root.parent) == before

    check()


def test_blobs(root: Path) -> None:
    from kernelkit.bench.given import given_inputs

    @budget()
    @given(st.one_of(changed_bytes(BLOB), _headers()))
    def check(data: bytes) -> None:
        dataset = lay_out(root)
        place(root, "blob", data)
        _validated(dataset)
        workload = Trace.model_validate(WORKLOAD).workload
        refused_or_read(lambda: given_inputs(dataset, workload))

    check()


def _headers() -> st.SearchStrategy[bytes]:
    """Blobs with a changed header of the right length."""
    length = int.from_bytes(BLOB[:8], "little")
    header = json.loads(BLOB[8 : 8 + length])

    def blob(document: object) -> bytes:
        text = as_file(document)
        return len(text).to_bytes(8, "little") + text + BLOB[8 + length :]

    return changed_document(header).map(blob)


def test_what_is_written_stays_inside(root: Path) -> None:
    """Names of definitions and solutions: a write is refused, or lies inside the dataset."""

    @budget(cheap=2)
    @given(changed_document(DOCUMENTS["definition"]), changed_document(DOCUMENTS["solution"]))
    def check(one: object, other: object) -> None:
        dataset = lay_out(root)
        outside = snapshot(root.parent.parent)
        definition = load_json(type(PAGED), place(root, "x", as_file(one), "x")).value
        solution = load_json(Solution, place(root, "x", as_file(other), "x")).value
        if definition is not None:
            refused_or_read(lambda: dataset.write_definition(definition))
            refused_or_read(lambda: dataset.write_workloads(definition, []))
        if solution is not None:
            refused_or_read(lambda: dataset.write_solution(solution, definition or NORM))
        now = snapshot(root.parent.parent)
        mine = str(root.relative_to(root.parent.parent))
        assert {p for p in now if not p.startswith(mine)} == {
            p for p in outside if not p.startswith(mine)
        }

    check()


def test_solutions_in_folders(root: Path, tmp_path: Path) -> None:
    """Packing and unpacking: refused, or a folder that packs to the same document."""
    numbers = iter(range(10**9))

    @budget(cheap=2)
    @given(hostile_json(DOCUMENTS["solution"]))
    def check(data: bytes) -> None:
        home = tmp_path / str(next(numbers))
        home.mkdir()
        (home / "given.json").write_bytes(data)
        document = refused_or_read(lambda: documents.load(home / "given.json"))
        if document is None:
            return
        target = home / "target"

        def through() -> object:
            unpack.write(unpack.plan_document(target, document, force=False))
            return pack.assemble(target)

        again = refused_or_read(through)
        assert again is None or again == document
        assert {p.name for p in home.iterdir()} <= {"given.json", "target"}

    check()


def test_traces_are_reported(root: Path) -> None:
    """Rows and the documents of a report from any trace that loads."""
    from kernelkit.report import documents as written
    from kernelkit.report.summary import summarize

    @budget()
    @given(changed_document(TRACE))
    def check(document: object) -> None:
        dataset = lay_out(root)
        file = place(root, "trace", as_file(document))
        if all(loaded.value is None for loaded in load_jsonl(Trace, file)):
            return
        summary = refused_or_read(lambda: summarize(dataset))
        if summary is not None:
            rows = "".join(written.csv_lines(summary))
            for text in (written.as_markdown(summary), rows, "".join(written.json_parts(summary))):
                text.encode("utf-8")

    check()
