"""How much of a large dataset the forms for reading show; CSV and JSON have everything.

A page of a million rows opens in no browser. What is left out is said where it is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

ROWS = 5_000  # of results, and of scores
GROUPS = 200  # definitions with plots
FAILURES = 200  # logs
NAMES = 1_000  # of each gap
STEPS = 500  # of a curve: more than it has pixels
HOW = "--definitions and --op-types choose others, --format csv or json has all"

T = TypeVar("T")


def left_out(items: Sequence[T], most: int, what: str) -> str:
    """What is said below the first `most` of them; empty where they are all."""
    if len(items) <= most:
        return ""
    return f"The first {most:,} of {len(items):,} {what}: {HOW}."


def names(found: Sequence[str]) -> list[str]:
    """The first NAMES, and how many more there are."""
    more = len(found) - NAMES
    return [*found[:NAMES], *([f"and {more:,} more"] if more > 0 else [])]
