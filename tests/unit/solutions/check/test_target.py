"""Reading what is to be checked: every form, and every way of being broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.solutions.check import report
from kernelkit.solutions.check.target import find, read

from .conftest import definition, source

SPEC = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
        "destination_passing_style": False}  # fmt: skip


def packed(**changes: Any) -> dict[str, Any]:
    """A packed solution of the norm."""
    base = {"name": "mine", "definition": "rmsnorm_h64", "author": "me", "spec": SPEC,
            "sources": [{"path": "main.py", "content": source("right_norm")}]}  # fmt: skip
    return {**base, **changes}


def write(path: Path, document: object) -> Path:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def found(path: Path) -> list[str]:
    """The codes that reading alone gives."""
    return sorted(finding.code for finding in read(path).findings)


def test_a_packed_file_and_a_folder_are_the_same(tmp_path: Path) -> None:
    one = read(write(tmp_path / "one.json", packed()))
    folder = tmp_path / "two"
    write(folder / "solution.json", packed(sources=None))
    (folder / "main.py").write_text(source("right_norm"))
    two = read(folder)
    assert (one.name, one.patterns, one.spec, one.sources) == (
        two.name, two.patterns, two.spec, two.sources,
    )  # fmt: skip
    assert one.findings == two.findings == []


def test_the_pattern_form_sets_constants(tmp_path: Path) -> None:
    write(tmp_path / "solution.json", {"name": "n_{definition}", "definitions": ["rmsnorm_*"]})
    (tmp_path / "main.py").write_text("EPS = 1e-5\nHIDDEN_SIZE = 1\n")
    target, one = read(tmp_path), definition("norm")
    assert target.definitions({one.name: one}) == [one]
    assert target.sources_for(one) == {"main.py": "EPS = 1e-06\nHIDDEN_SIZE = 64\n"}


def test_a_template_pair(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", {**packed(sources=None), "files": ["lib/a.py", "absent.py"]})
    (tmp_path / "t_main.py").write_text("x = 1\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.py").write_text("y = 1\n")
    target = read(path)
    assert target.sources == {"main.py": "x = 1\n", "lib/a.py": "y = 1\n"}
    assert [(f.code, f.file) for f in target.findings] == [("KS100", "absent.py")]


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"name": None}, ["KS100"]),
        ({"spec": {**SPEC, "language": "fortran"}}, ["KS100"]),
        ({"spec": {**SPEC, "entry_point": "main.py"}}, ["KS100"]),
        ({"spec": None}, ["KS100"]),
        ({"sources": []}, ["KS100"]),
        ({"sources": [{"path": "main.py"}]}, ["KS100"]),
        ({"sources": [{"path": "main.py", "content": " \n"}]}, ["KS203"]),
        ({"sources": [{"path": "main.py", "content": "a\0"}]}, ["KS100"]),
        ({"sources": [{"path": "../main.py", "content": "a"}]}, ["KS208"]),
        ({"sources": [{"path": p, "content": "a"} for p in ("a.py", "a.py")]}, ["KS208"]),
        ({"sources": [{"path": p, "content": "a"} for p in ("a.py", "A.py")]}, ["KS208"]),
    ],
)
def test_broken_fields(tmp_path: Path, changes: dict[str, Any], codes: list[str]) -> None:
    assert found(write(tmp_path / "one.json", packed(**changes))) == codes


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "\xff", "[" * 99999])
def test_broken_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.json").write_bytes(text.encode("latin-1"))
    assert found(tmp_path / "one.json") == ["KS100"]


def test_sources_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path / "solution.json", packed(sources=None))
    (tmp_path / "main.py").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.py").write_bytes(b"")
    assert found(tmp_path) == ["KS100", "KS203"]


def test_find(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        find(tmp_path / "absent")
    with pytest.raises(UsageError, match="no Solution JSON"):
        find(tmp_path)
    folder = tmp_path / "a"
    write(folder / "solution.json", packed())
    write(folder / "data.json", {})  # a source of the solution, not one of its own
    one = write(tmp_path / "b.json", packed())
    assert find(tmp_path) == [folder, one] and find(folder) == [folder] and find(one) == [one]


@pytest.fixture
def norms(dataset: Dataset) -> Dataset:
    """The norm's definition."""
    dataset.write_definition(definition("norm"))
    return dataset


def test_definitions_that_the_dataset_does_not_have(norms: Dataset, tmp_path: Path) -> None:
    stranger = read(write(tmp_path / "a.json", packed(definition="rmsnorm_h65")))
    with pytest.raises(NothingSelectedError, match="rmsnorm_h65"):
        report.check_all(norms, [stranger])
    one = read(write(tmp_path / "b.json", packed()))
    checked = report.check_all(norms, [stranger, one])
    told = [[finding.code for finding in each.findings] for each in checked]
    assert told == [[], ["KS118"]]
    broken = read(write(tmp_path / "c.json", []))
    assert [f.code for f in report.check_all(norms, [broken])[0].findings] == ["KS100"]


def test_the_same_sources_with_another_passing_style(norms: Dataset, tmp_path: Path) -> None:
    from kernelkit.dataset.solution import Solution

    other = packed(name="other", spec={**SPEC, "destination_passing_style": True})
    norms.write_solution(Solution.model_validate(other), definition("norm"))
    checked = report.check_all(norms, [read(write(tmp_path / "a.json", packed()))])
    assert [finding.code for finding in checked[0].findings] == ["KS116"]
    assert report.counts(checked) == {"solutions": 1, "errors": 0, "warnings": 1, "notes": 0}
    assert "other has the same sources" in report.to_text(checked)
