"""The validator as a whole: nothing wrong found, nothing hidden, no code untried, selections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from planted_faults import (
    NORM_FILE,
    PAGED,
    PAGED_FILE,
    PAGED_LINES,
    PLANTED,
    SOLUTION,
    TRACES,
    Document,
    field,
    reference,
)

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate import CODES, validate
from kernelkit.dataset.validate.references import check_reference
from kernelkit.errors import NothingSelectedError

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
