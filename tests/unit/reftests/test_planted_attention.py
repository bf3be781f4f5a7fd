"""Generated tests of paged and ragged attention: the right pass, each planted mistake fails."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import planted  # noqa: E402

OP_TYPES = ("gqa_paged", "gqa_ragged", "mla_ragged")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> planted.Runs:
    return planted.run(tmp_path_factory.mktemp("planted"), OP_TYPES)


@pytest.mark.parametrize("name", planted.definitions_of(OP_TYPES))
def test_a_right_reference_passes(runs: planted.Runs, name: str) -> None:
    planted.assert_passes(runs[name])


@pytest.mark.parametrize(
    "mistake", planted.mistakes_of(OP_TYPES), ids=lambda one: f"{one.definition} {one.what}"
)
def test_a_mistake_fails(runs: planted.Runs, mistake: planted.Mistake) -> None:
    planted.assert_caught(runs[mistake.planted().name])


def test_a_failure_says_where(runs: planted.Runs) -> None:
    rows = runs["gqa_paged_decode_h8_kv2_d64_ps64_lse_in_base_e"].rows
    text = next(row["text"] for row in rows if row["outcome"] == "failed")
    said = [line[4:] for line in text.splitlines() if line.startswith("E   ")]
    assert said[0].strip().startswith("AssertionError: lse: ")
    assert "max_abs_error" in said[1] and "cosine" in said[1] and "matched_ratio" in said[1]
    assert len([line for line in said if line.strip().startswith("at (")]) == 5


def test_what_is_absent_is_said(runs: planted.Runs) -> None:
    rows = runs["gqa_paged_decode_h8_kv2_d64_ps1"].rows
    said = {row["test"]: row["text"] for row in rows if row["outcome"] == "skipped"}
    text = said["test_agrees_with_ground_truth[small-flashinfer]"]
    assert text == "flashinfer needs a GPU, and this runs on the CPU"
