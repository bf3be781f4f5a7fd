"""What the tests of the benchmark share: solutions on simulated batches, whole evaluations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernelkit.bench.evaluation import Evaluator
from kernelkit.dataset.store import Dataset

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside the tests
import evaluated  # noqa: E402

if TYPE_CHECKING:
    from simulated import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A small norm on a simulated GPU."""
    import simulated

    monkeypatch.chdir(tmp_path)
    return simulated.Bench(tmp_path / "processes", simulated.NORM, {"batch_size": 5})


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """One evaluator for all tests of a file: none may leave it changed, that is its point."""
    folder = tmp_path_factory.mktemp("evaluator")
    made = Evaluator(Dataset.create(tmp_path_factory.mktemp("dataset")), evaluated.QUICK, folder)
    yield made
    made.stop()
