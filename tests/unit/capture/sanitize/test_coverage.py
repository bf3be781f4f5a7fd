"""The choice spreads over batch sizes and lengths, and does not depend on the order."""

from __future__ import annotations

import random

from kernelkit.capture.sanitize.candidates import Candidate
from kernelkit.capture.sanitize.coverage import spread
from kernelkit.ops import gqa_paged

DEFINITION = gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False)


def _candidate(batch: int, total: int) -> Candidate:
    axes = {"batch_size": batch, "num_kv_indices": total}
    name = f"{batch}-{total}"
    return Candidate(DEFINITION, name, axes, axes, (), None)


def _many() -> list[Candidate]:
    """1,000 decode steps, most of them of 64 requests, as a busy server makes them."""
    rng = random.Random(1)
    sizes = [1] * 10 + [2] * 10 + [16] * 80 + [64] * 900
    totals = {(size, size * rng.randint(10, 4000)) for size in sizes}
    return [_candidate(*pair) for pair in sorted(totals)]


def test_every_batch_size_and_both_ends_of_lengths() -> None:
    chosen = spread(_many(), [], most=12, per_axes=None)
    assert len(chosen) == 12
    assert {c.axes["batch_size"] for c in chosen} == {1, 2, 16, 64}
    totals = sorted(c.axes["num_kv_indices"] for c in _many())
    taken = sorted(c.axes["num_kv_indices"] for c in chosen)
    assert taken[0] <= totals[20] and taken[-1] >= totals[-20]


def test_one_is_the_most_typical() -> None:
    (chosen,) = spread([_candidate(4, n) for n in range(1, 102)], [], most=1, per_axes=None)
    assert chosen.axes["num_kv_indices"] == 51


def test_any_order_gives_the_same() -> None:
    candidates = _many()
    first = spread(candidates, [], most=9, per_axes=None)
    random.Random(2).shuffle(candidates)
    assert spread(candidates, [], most=9, per_axes=None) == first


def test_what_is_held_is_not_chosen_near() -> None:
    candidates = [_candidate(4, n) for n in (1, 50, 100)]
    held = [{"batch_size": 4, "num_kv_indices": 1}, {"batch_size": 4, "num_kv_indices": 50}]
    (chosen,) = spread(candidates, held, most=1, per_axes=None)
    assert chosen.axes["num_kv_indices"] == 100


def test_at_most_so_many_with_the_same_axes() -> None:
    axes = {"batch_size": 4}
    same = [Candidate(DEFINITION, f"{n}", axes, {"length": n}, (), None) for n in range(9)]
    assert len(spread(same, [], most=None, per_axes=2)) == 2
    assert len(spread(same, [axes], most=None, per_axes=2)) == 1
    assert len(spread(same, [], most=5, per_axes=None)) == 5


def test_all_and_none() -> None:
    candidates = _many()
    assert len(spread(candidates, [], most=None, per_axes=None)) == len(candidates)
    assert spread([], [], most=5, per_axes=1) == []
