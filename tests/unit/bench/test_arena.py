"""The shared memory: places, guard zones, views."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.isolation.arena import (  # noqa: E402
    ALIGNMENT,
    GUARD_BYTES,
    HostMemory,
    Layout,
    lay_out,
    layout_of,
    view,
)
from kernelkit.errors import UsageError  # noqa: E402
from kernelkit.ops import OP_TYPES, family, gemm  # noqa: E402

LAYOUT = lay_out(
    {"a": ([3, 5], "bfloat16"), "i": ([0], "int32"), "f": ([2], "float8_e4m3fn")},
    {"o": ([], "float32")},
)


def test_every_tensor_is_aligned_and_guarded_on_both_sides() -> None:
    places = [*LAYOUT.inputs.values(), *LAYOUT.outputs.values(), *LAYOUT.taken.values()]
    assert all(place.offset % ALIGNMENT == 0 for place in places)
    guards = LAYOUT.guards()
    assert len(guards) == len(places) + 1
    assert all(end - start >= GUARD_BYTES for start, end in guards)
    covered = sum(end - start for start, end in guards) + sum(place.bytes for place in places)
    assert covered == LAYOUT.bytes


def test_layouts_as_json_and_shifted() -> None:
    assert Layout.from_json(LAYOUT.to_json()) == LAYOUT
    moved = LAYOUT.shifted(LAYOUT.bytes)
    assert moved.inputs["a"].offset == LAYOUT.inputs["a"].offset + LAYOUT.bytes
    assert moved.bytes == LAYOUT.bytes


def test_two_maps_see_each_other(tmp_path: Path) -> None:
    ours = HostMemory.create(tmp_path, LAYOUT.bytes)
    theirs = HostMemory.open(ours.path, LAYOUT.bytes)
    ones = torch.ones(3, 5, dtype=torch.bfloat16)
    view(ours.bytes(), LAYOUT.inputs["a"]).copy_(ones)
    seen = theirs.tensor(LAYOUT.inputs["a"])
    assert torch.equal(seen, ones)
    assert seen.untyped_storage().nbytes() == 30  # nothing else is reached through the tensor
    assert theirs.tensor(LAYOUT.inputs["i"]).shape == (0,)
    theirs.tensor(LAYOUT.outputs["o"]).fill_(4)
    assert view(ours.bytes(), LAYOUT.outputs["o"]).item() == 4


def test_the_layout_of_a_definition_is_that_of_its_inputs() -> None:
    definition = gemm.FAMILY.definition(16, 32)
    layout = layout_of(definition, {"M": 3})
    assert {name: place.shape for name, place in layout.inputs.items()} == {
        "A": [3, 32], "B": [16, 32],
    }  # fmt: skip
    assert layout.outputs["C"].shape == [3, 16]
    assert all(family(op_type) for op_type in OP_TYPES)


def test_more_memory_than_there_is_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more memory than is free"):
        HostMemory.create(tmp_path, 1 << 50)
