"""What is found wrong with definitions and their references, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_faults import (
    BODY,
    LAYOUT_AND_DEFINITIONS,
    PAGED_FILE,
    RUN,
    Change,
    each,
    field,
    reference,
)

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate import validate


@each(LAYOUT_AND_DEFINITIONS)
def test_planted_fault_of_a_definition_is_found(
    assert_found: Callable[..., None], code: str, path: str | None, change: Any
) -> None:
    assert_found(code, path, change)


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
]


@pytest.mark.parametrize(("path", "change"), SOUND, ids=range(len(SOUND)))
def test_sound_definitions_give_no_finding(
    assert_sound: Callable[[str, Change], None], path: str, change: Change
) -> None:
    assert_sound(path, change)


def test_a_fault_of_the_format_hides_none_of_the_reference(
    sound: Dataset, edit: Callable[..., Path]
) -> None:
    edit(PAGED_FILE, field("inputs.q.dtype", "unknown"))
    edit(PAGED_FILE, reference("import flashinfer\n" + RUN.replace("q, ", "") + "    return k\n"))
    found = {f.code for f in validate(sound).findings}
    assert {"S1", "R1", "R4", "R5"} <= found
