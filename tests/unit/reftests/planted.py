"""Generates and runs the tests of some definitions, and of the same with planted mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from samples import DEFINITIONS, MISTAKES, Mistake

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.reftests import running, write

AGREEMENT = "test_agrees_with_ground_truth[small-torch]"
OPTIONS = write.Options(sizes=("small",))

Runs = dict[str, running.FileRun]


def definitions_of(op_types: Iterable[str]) -> list[str]:
    """Names of the sample definitions of some op types."""
    return [name for name, d in DEFINITIONS.items() if d.op_type in op_types]


def mistakes_of(op_types: Iterable[str]) -> list[Mistake]:
    """The mistakes in definitions of some op types."""
    return [mistake for mistake in MISTAKES if mistake.planted().op_type in op_types]


def run(folder: Path, op_types: Iterable[str]) -> Runs:
    """The tests of all of them in one process on the CPU, by definition."""
    dataset = Dataset.create(folder)
    chosen = [DEFINITIONS[name] for name in definitions_of(op_types)]
    chosen += [mistake.planted() for mistake in mistakes_of(op_types)]
    paths = {definition.name: _write(dataset, definition) for definition in chosen}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFERENCE_TEST_DEVICE", "cpu")
        found = running.run_once(dataset.root, list(paths.values()), timeout_s=300.0)
    return {name: found[path] for name, path in paths.items()}


def _write(dataset: Dataset, definition: Definition) -> Path:
    dataset.write_definition(definition)
    path = dataset.definition_path(definition)
    return write.write(dataset, path, definition, OPTIONS, dry_run=False).path


def outcomes(run: running.FileRun) -> dict[str, str]:
    """The outcome of each test of a file that ran to its end."""
    assert not run.trouble, run.trouble
    return {row["test"]: row["outcome"] for row in run.rows}


def assert_passes(run: running.FileRun) -> None:
    """A right reference: everything that ran passed, and left metrics."""
    found = outcomes(run)
    assert found[AGREEMENT] == "passed"
    assert "failed" not in found.values()
    row = next(row for row in run.rows if row["test"] == AGREEMENT)
    assert row["properties"], "no metrics"


def assert_caught(run: running.FileRun) -> None:
    """A mistake: shapes are right, the values are not."""
    found = outcomes(run)
    assert found[AGREEMENT] == "failed"
    assert found["test_shapes_and_types[small]"] == "passed"
    text = next(row["text"] for row in run.rows if row["test"] == AGREEMENT)
    assert "AssertionError" in text
