"""No fault hides another: what stays visible beside a definition that is broken or absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_faults import NORM_FILE, PAGED, PAGED_FILE, PAGED_LINES, SOLUTION, TRACES, Document

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate import validate
from kernelkit.dataset.validate.mend import mended

Edit = Callable[[str, Callable[[Document], object]], Path]


def codes(dataset: Dataset) -> set[str]:
    """The codes of all findings."""
    return {finding.code for finding in validate(dataset).findings}


def unloadable(document: Document) -> None:
    """What raw dumps have: unknown dtypes, no reference, overlap, an undeclared axis."""
    document["inputs"]["kv_indptr"]["dtype"] = "unknown"
    document["inputs"]["k_cache"]["shape"].append("K_div_32")
    document["outputs"]["q"] = document["outputs"]["output"]
    document["constraints"].append("a ===")
    del document["reference"]


FORMAT = {"S1", "S2", "S4", "S6", "S7"}
BEHIND: list[tuple[set[str], Callable[[Document], object]]] = [
    (set(), lambda d: None),
    ({"A1", "A3"}, lambda d: d["axes"]["num_kv_heads"].update(value=128)),
    ({"A2", "A3"}, lambda d: d["axes"]["head_dim"].update(value=100)),
    ({"A4"}, lambda d: d.update(tags=["fi_api:decode"])),
    ({"R7"}, lambda d: d["axes"].update(more={"type": "var"})),
    ({"R9"}, lambda d: d["constraints"].append("absent == 1")),
    ({"R10"}, lambda d: d["constraints"].append("open('x') == 1")),
    ({"R11"}, lambda d: d["constraints"].append("head_dim == 65")),
]


@pytest.mark.parametrize(("behind", "change"), BEHIND)
def test_sense_is_checked_where_the_format_is_broken(
    sound: Dataset, edit: Edit, behind: set[str], change: Callable[[Document], object]
) -> None:
    edit(PAGED_FILE, lambda document: (unloadable(document), change(document)))
    assert codes(sound) == FORMAT | behind


@pytest.mark.parametrize("part", ["inputs", "outputs", "axes", "constraints"])
@pytest.mark.parametrize("value", [5, "text", ["a"], [["a"]], {"a": 5}, {"a": {"shape": {}}}])
def test_what_cannot_be_mended_is_a_format_fault(
    sound: Dataset, edit: Edit, part: str, value: object
) -> None:
    edit(PAGED_FILE, lambda document: document.update({part: value}))
    found = codes(sound)
    assert any(code.startswith(("S", "R")) for code in found) and "P5" not in found


def test_mending_changes_neither_document_nor_sound_parts(sound: Dataset) -> None:
    document = json.loads((sound.root / PAGED_FILE).read_text())
    before = json.dumps(document)
    copy = mended(document)
    assert copy is not None and json.dumps(document) == before
    assert copy.signature() == sound.find_definition(PAGED).signature()


@pytest.mark.parametrize("how", ["broken", "absent"])
@pytest.mark.parametrize(
    ("path", "change", "code"),
    [
        (SOLUTION, lambda d: d["sources"][0].update(content="def run(:\n"), "L5"),
        (SOLUTION, lambda d: d["spec"].update(entry_point="main.py::absent"), "L6"),
        (SOLUTION, lambda d: d["sources"][0].update(path="../main.py"), "L4"),
        (TRACES, lambda d: d["evaluation"]["performance"].update(latency_ms=0.0), "T5"),
        (TRACES, lambda d: d.update(solution="absent"), "T2"),
        (TRACES, lambda d: d["workload"].update(uuid="w-9"), "T3"),
    ],
)
def test_belongings_of_a_bad_definition_are_checked(
    sound: Dataset, edit: Edit, path: str, change: Any, code: str, how: str
) -> None:
    if how == "broken":
        (sound.root / NORM_FILE).write_text("{")
    else:
        (sound.root / NORM_FILE).unlink()
    assert code not in codes(sound)
    edit(path, change)
    assert code in codes(sound)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d.update(solution="plain_norm"), "W3"),
        (lambda d: d["workload"]["inputs"]["kv_indptr"].update(path="../x.safetensors"), "B1"),
        (lambda d: d["workload"]["inputs"]["kv_indptr"].update(path="blob/absent"), "B2"),
        (lambda d: d["workload"]["inputs"]["kv_indptr"].update(tensor_key="absent"), "B5"),
    ],
)
def test_workloads_of_a_broken_definition_are_checked(
    sound: Dataset, edit: Edit, change: Any, code: str
) -> None:
    (sound.root / PAGED_FILE).write_text("{")
    assert codes(sound) == {"P1"}
    edit(PAGED_LINES, change)
    assert code in codes(sound)


@pytest.mark.parametrize(
    ("path", "change", "code"),
    [
        (TRACES, lambda d: d["evaluation"]["performance"].update(latency_ms=float("inf")), "T5"),
        (
            TRACES,
            lambda d: d["evaluation"]["performance"].update(reference_latency_ms=float("inf")),
            "T4",
        ),
        (PAGED_LINES, lambda d: d["workload"]["inputs"]["sm_scale"].update(value=True), "W6"),
        (
            PAGED_LINES,
            lambda d: d["workload"]["inputs"]["sm_scale"].update(value=float("nan")),
            "W6",
        ),
        (
            PAGED_LINES,
            lambda d: d["workload"]["inputs"]["sm_scale"].update(value=float("-inf")),
            "W6",
        ),
    ],
)
def test_numbers_that_are_none(
    sound: Dataset, edit: Edit, path: str, change: Any, code: str
) -> None:
    edit(path, change)
    assert code in codes(sound)


def test_a_whole_number_is_a_scale(sound: Dataset, edit: Edit) -> None:
    edit(PAGED_LINES, lambda d: d["workload"]["inputs"]["sm_scale"].update(value=1))
    assert codes(sound) == set()
