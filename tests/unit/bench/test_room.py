"""Calls of a batch and bytes of an arena."""

from __future__ import annotations

import pytest

from kernelkit.bench.room import ARENA_SHARE, BATCH_BYTES, MOST_SLOTS, room
from kernelkit.bench.settings import Settings

CUDA = Settings(device="cuda:0")
MUCH = 1 << 40


@pytest.mark.parametrize(
    ("size", "free", "calls"),
    [
        (1 << 20, MUCH, MOST_SLOTS),
        (BATCH_BYTES // 10, MUCH, 10),
        (BATCH_BYTES, MUCH, 1),
        (1 << 30, int((5 << 30) / ARENA_SHARE / 2), 2),
        (1 << 30, 1 << 30, 1),  # one must do, whatever comes of it
    ],
)
def test_calls_of_a_batch(size: int, free: int, calls: int) -> None:
    assert room([size], CUDA, free) == ([calls], calls * size)


def test_an_arena_is_for_the_largest_batch() -> None:
    assert room([1 << 20, BATCH_BYTES // 2, 8], CUDA, MUCH) == ([MOST_SLOTS, 2, MOST_SLOTS],
                                                               BATCH_BYTES)  # fmt: skip


def test_a_cpu_has_no_batches() -> None:
    assert room([100, 70], Settings(), MUCH) == ([1, 1], 100)
    assert room([100], Settings(device="cuda:0", outside=False), MUCH) == ([1], 100)
