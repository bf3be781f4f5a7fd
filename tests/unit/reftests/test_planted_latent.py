"""Generated tests of latent and sparse attention: the right pass, each planted mistake fails."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import planted  # noqa: E402

OP_TYPES = ("mla_paged", "dsa_paged")


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
