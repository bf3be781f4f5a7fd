"""How many calls a batch may have, and how large the arena of a definition is."""

from __future__ import annotations

from collections.abc import Sequence

from kernelkit.bench.settings import Settings

BATCH_BYTES, MOST_SLOTS = 4 << 30, 40  # of a batch
ARENA_SHARE = 0.2  # of free memory, for arenas
FEW = 4  # calls that a batch has, also where they are more than BATCH_BYTES


def room(sizes: Sequence[int], settings: Settings, free_bytes: int) -> tuple[list[int], int]:
    """For workloads whose calls take so many bytes each: the calls in a batch of each, and the
    bytes of an arena for the largest. One call where there are no batches (CPU)."""
    calls = [_calls(size, settings, free_bytes) for size in sizes]
    return calls, max(count * size for count, size in zip(calls, sizes, strict=True))


def _calls(size: int, settings: Settings, free_bytes: int) -> int:
    if not settings.on_cuda or not settings.outside:
        return 1
    budget = min(BATCH_BYTES, int(ARENA_SHARE * free_bytes))
    return max(1, min(MOST_SLOTS, max(FEW, BATCH_BYTES // size), budget // size))
