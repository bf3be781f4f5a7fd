"""What is found wrong with solutions and traces, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_faults import (
    SOLUTION,
    SOLUTIONS_AND_TRACES,
    Change,
    compiled,
    each,
    field,
)

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate import validate


@each(SOLUTIONS_AND_TRACES)
def test_planted_fault_of_a_solution_or_trace_is_found(
    assert_found: Callable[..., None], code: str, path: str | None, change: Any
) -> None:
    assert_found(code, path, change)


# Each is sound: what a stricter check would wrongly report.
SOUND: list[tuple[str, Change]] = [
    (SOLUTION, compiled('extern "C" void run() {}')),
    (SOLUTION, field("sources.0.content", "def make():\n    return 1\nrun = make()\n")),
    (SOLUTION, field("sources.0.content", "def run(x, w, eps=1e-6):\n    return x\n")),
    (SOLUTION, field("spec.dependencies", [])),
]


@pytest.mark.parametrize(("path", "change"), SOUND, ids=range(len(SOUND)))
def test_sound_solutions_give_no_finding(
    assert_sound: Callable[[str, Change], None], path: str, change: Change
) -> None:
    assert_sound(path, change)


def test_what_is_broken_is_still_there_for_its_traces(
    sound: Dataset, edit: Callable[..., Path]
) -> None:
    edit(SOLUTION, field("spec.language", "fortran"))
    edit("workloads/rmsnorm/rmsnorm_h64.jsonl", field("workload.axes", []))
    assert {f.code for f in validate(sound).findings} == {"L0", "W0"}
